#include "evomoe/config/option_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/config/given_options.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Sample {
  std::string data;
  int64_t layers = 6;
  std::optional<double> dropout;
  std::optional<bool> learned;
  std::vector<double> betas = {0.9, 0.999};
  std::vector<int64_t> freq = {1};
  std::vector<std::string> subset = {"valid"};
  std::string device = "auto";
  double rate = 0.25;
  bool save_nothing = false;
};

/// A table of every type of option, filled from `arguments`.
class OptionTableTest : public ::testing::Test {
 protected:
  OptionTableTest() {
    table.positional("data", &sample.data, "Data.").metavar("DATA").required();
    table.group("model", "Model");
    table.add("layers", &sample.layers, "Layers.").at_least(1).alias("decoder-layers");
    table.add("dropout", &sample.dropout, "Dropout.").range(0, 1);
    table.add("learned-pos", &sample.learned, "Learned.");
    table.group("run", "Run");
    table.add("adam-betas", &sample.betas, "Betas.").count(2).at_least(0).below(1);
    table.add("update-freq", &sample.freq, "Freq.").at_least(1);
    table.add("valid-subset", &sample.subset, "Subsets.");
    table.add("device", &sample.device, "Device.").choices({"auto", "cpu", "cuda"});
    table.shorthand("cpu", "device", "cpu", "CPU.");
    table.add("lr", &sample.rate, "Rate.").above(0);
    table.add("no-save", &sample.save_nothing, "No save.");
    table.legacy({"world-size", true, {"1"}, "only 1 is possible", false});
    table.legacy({"no-flatten", false, {}, "nothing to flatten", false});
    table.legacy({"fp16", false, {}, "leave it out", true});
  }

  std::string error_of(const std::vector<std::string>& arguments) {
    try {
      table.parse(arguments);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "no error";
  }

  std::string yaml_file(const std::string& text) {
    const auto path = folder / "config.yaml";
    testing::write_text(path, text);
    return path.string();
  }

  Sample sample;
  OptionTable table{"sample", "does nothing"};
  testing::TemporaryFolder folder;
};

TEST_F(OptionTableTest, DefaultsStayWhenNothingIsGiven) {
  ASSERT_TRUE(table.parse({"bin"}));
  EXPECT_EQ(sample.data, "bin");
  EXPECT_EQ(sample.layers, 6);
  EXPECT_FALSE(sample.dropout.has_value());
  EXPECT_FALSE(table.is_set("layers"));
  EXPECT_TRUE(table.is_set("data"));
}

TEST_F(OptionTableTest, WritesAnOptionAsOnACommandLine) {
  ASSERT_TRUE(table.parse({"bin", "--cpu", "--decoder-layers", "3", "--no-save", "--update-freq",
                           "2,1", "--learned-pos"}));
  const auto written = [&](const std::string& name) { return table.written(table.at(name)); };
  EXPECT_EQ(written("layers"), "--layers 3");
  EXPECT_EQ(written("device"), "--cpu");
  EXPECT_EQ(written("no-save"), "--no-save");
  EXPECT_EQ(written("learned-pos"), "--learned-pos");
  EXPECT_EQ(written("update-freq"), "--update-freq 2,1");
}

TEST_F(OptionTableTest, ReadsEveryTypeInEverySpelling) {
  ASSERT_TRUE(table.parse({"bin", "--decoder-layers", "4", "--dropout=0.1", "--learned_pos",
                           "--adam-betas", "(0.9, 0.98)", "--update_freq", "[2,4]",
                           "--valid-subset", "valid,test", "--cpu", "--lr", "1e-3", "--no-save"}));
  EXPECT_EQ(sample.layers, 4);
  EXPECT_EQ(sample.dropout, 0.1);
  EXPECT_EQ(sample.learned, true);
  EXPECT_THAT(sample.betas, ElementsAre(0.9, 0.98));
  EXPECT_THAT(sample.freq, ElementsAre(2, 4));
  EXPECT_THAT(sample.subset, ElementsAre("valid", "test"));
  EXPECT_EQ(sample.device, "cpu");
  EXPECT_EQ(sample.rate, 1e-3);
  EXPECT_TRUE(sample.save_nothing);
  EXPECT_TRUE(table.is_set("device"));
}

TEST_F(OptionTableTest, ANameOfOneLetterHasOneDashAsInTheHelpOrTwo) {
  std::string axis = "updates";
  table.add("x", &axis, "Axis.");
  EXPECT_THAT(table.help_text(), HasSubstr("  -x TEXT"));
  for (const char* spelling : {"-x", "--x"}) {
    axis = "updates";
    ASSERT_TRUE(table.parse({"bin", spelling, "seconds"})) << spelling;
    EXPECT_EQ(axis, "seconds") << spelling;
  }
}

TEST_F(OptionTableTest, TwoDashesAloneEndTheNames) {
  ASSERT_TRUE(table.parse({"--layers", "3", "--", "--bin"}));
  EXPECT_EQ(sample.data, "--bin");
  EXPECT_EQ(sample.layers, 3);
}

TEST_F(OptionTableTest, AValueIsTakenAsItStands) {
  ASSERT_TRUE(table.parse({"bin", "--valid-subset", "--a_b", "--device=cpu"}));
  EXPECT_THAT(sample.subset, ElementsAre("--a_b"));
}

TEST_F(OptionTableTest, AValueMayStandBehindAnAliasOfOneLetter) {
  std::string axis = "updates";
  table.add("axis", &axis, "Axis.").alias("x");
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"-x", "seconds"}, {"-xseconds"}, {"-x=seconds"}}) {
    axis = "updates";
    auto arguments = words;
    arguments.push_back("bin");
    ASSERT_TRUE(table.parse(arguments)) << words.front();
    EXPECT_EQ(axis, "seconds") << words.front();
  }
  EXPECT_THAT(error_of({"bin", "--x", "seconds"}), HasSubstr("unknown option '--x'"));
  EXPECT_THAT(error_of({"bin", "-lr", "1"}), HasSubstr("did you mean '--lr'"));
}

TEST_F(OptionTableTest, AFlagTakesAnExplicitValue) {
  ASSERT_TRUE(table.parse({"bin", "--no-save=true", "--learned-pos=false"}));
  EXPECT_TRUE(sample.save_nothing);
  EXPECT_EQ(sample.learned, false);
  EXPECT_THAT(error_of({"bin", "--no-save=banana"}),
              AllOf(HasSubstr("--no-save"), HasSubstr("banana")));
}

TEST_F(OptionTableTest, PythonsBooleansMayFollowAFlagWithoutEffect) {
  ASSERT_TRUE(table.parse({"bin", "--no-flatten", "True", "--layers", "2"}));
  EXPECT_THAT(table.notices(), ElementsAre(HasSubstr("--no-flatten")));
  ASSERT_TRUE(table.parse({"--no-flatten", "False", "--fp16", "False", "bin"}));
  EXPECT_TRUE(table.notices().empty());
  EXPECT_EQ(sample.data, "bin");
}

TEST_F(OptionTableTest, AnOptionMayHaveAMeaningWithoutAValue) {
  std::optional<int64_t> updates;
  table.add("profile", &updates, "Profile.").at_least(1).bare("100");
  for (const auto& [arguments, expected] :
       std::vector<std::pair<std::vector<std::string>, std::optional<int64_t>>>{
           {{"bin"}, std::nullopt},
           {{"bin", "--profile"}, 100},
           {{"--profile", "bin"}, 100},
           {{"--profile", "--layers", "2", "bin"}, 100},
           {{"--profile", "7", "bin"}, 7}}) {
    updates.reset();
    ASSERT_TRUE(table.parse(arguments));
    EXPECT_EQ(updates, expected);
  }
  for (const auto& [text, expected] : std::vector<std::pair<std::string, std::optional<int64_t>>>{
           {"true", 100}, {"5", 5}, {"false", std::nullopt}}) {
    updates.reset();
    ASSERT_TRUE(table.parse({"bin", "--config", yaml_file("profile: " + text + "\n")}));
    EXPECT_EQ(updates, expected);
  }
}

TEST_F(OptionTableTest, WhatIsNotGivenMayFollowFromAnotherOption) {
  std::string size = "small";
  table.add("size", &size, "Size.").choices({"small", "large"}).default_from([this] {
    return sample.layers > 6 ? "large" : "small";
  });
  ASSERT_TRUE(table.parse({"bin", "--layers", "12"}));
  EXPECT_EQ(size, "large");
  EXPECT_FALSE(table.is_set("size"));
  ASSERT_TRUE(table.parse({"bin", "--layers", "12", "--size", "small"}));
  EXPECT_EQ(size, "small");
}

TEST_F(OptionTableTest, TheReferencesWordsForAValueMeanOurs) {
  std::string decay = "Linear";
  int64_t times = 3;
  table.add("decay", &decay, "Decay.").choices({"Linear", "none"}).synonyms({{"None", "none"}});
  table.add("times", &times, "Times.").at_least(1).synonyms({{"-1", "1"}});
  ASSERT_TRUE(table.parse({"bin", "--decay", "None", "--times", "-1"}));
  EXPECT_EQ(decay, "none");
  EXPECT_EQ(times, 1);
}

TEST_F(OptionTableTest, AValueOfTheReferenceThatIsNotSupportedIsRefusedWithItsReason) {
  std::string optimizer = "adam";
  table.add("optimizer", &optimizer, "Optimiser.")
      .choices({"adam"})
      .unsupported({"nag"}, "use adam");
  EXPECT_THAT(error_of({"bin", "--optimizer", "nag"}),
              AllOf(HasSubstr("--optimizer"), HasSubstr("nag"), HasSubstr("use adam")));
}

TEST(OptionTable, AnImpliedValueMayBeLeftAway) {
  const auto joined = [](const std::vector<std::string>& arguments) {
    std::string data;
    std::optional<std::string> join;
    OptionTable table("generate", "");
    table.positional("data", &data, "Data.");
    table.add("join-words", &join, "Join.").choices({"bpe", "@@ ", "none"}).bare("bpe");
    table.add("beam", &data, "Beam.");
    table.parse(arguments);
    return join.value_or("nothing") + "," + data;
  };
  EXPECT_EQ(joined({"d"}), "nothing,d");
  EXPECT_EQ(joined({"d", "--join-words"}), "bpe,d");
  EXPECT_EQ(joined({"--join_words", "d"}), "bpe,d");
  EXPECT_EQ(joined({"--join-words", "--beam", "3"}), "bpe,3");
  EXPECT_EQ(joined({"--join-words", "none", "d"}), "none,d");
  EXPECT_EQ(joined({"--join-words", "@@ ", "d"}), "@@ ,d");
  EXPECT_EQ(joined({"--join-words=@@ "}), "@@ ,");
  EXPECT_THROW(joined({"--join-words=all"}), UsageError);
}

TEST_F(OptionTableTest, TheLastOfTwoEqualOptionsWins) {
  ASSERT_TRUE(table.parse({"bin", "--layers", "2", "--layers", "3"}));
  EXPECT_EQ(sample.layers, 3);
}

TEST_F(OptionTableTest, CommandLineBeatsOverridesBeatFilesBeatDefaults) {
  const auto config = yaml_file("layers: 2\nrun: {lr: 0.5, update_freq: [3]}\ndata: from-file\n");
  ASSERT_TRUE(table.parse({"--config", config, "model.layers=3", "run.lr=0.75", "--layers", "4"}));
  EXPECT_EQ(sample.layers, 4);
  EXPECT_EQ(sample.rate, 0.75);
  EXPECT_THAT(sample.freq, ElementsAre(3));
  EXPECT_EQ(sample.data, "from-file");
}

TEST_F(OptionTableTest, AnUnknownOptionNamesTheNearest) {
  EXPECT_THAT(error_of({"bin", "--update-frq", "2"}),
              AllOf(HasSubstr("--update-frq"), HasSubstr("'--update-freq'")));
  EXPECT_THAT(error_of({"bin", "model.layer=2"}),
              AllOf(HasSubstr("model.layer=2"), HasSubstr("'layers'")));
  EXPECT_THAT(error_of({"bin", "run.layers=2"}), HasSubstr("it is in 'model'"));
  EXPECT_THAT(error_of({"bin", "modle.layers=2"}), HasSubstr("model, run"));
}

TEST_F(OptionTableTest, AWrongValueNamesOptionValueAndWhatIsAllowed) {
  EXPECT_THAT(
      error_of({"bin", "--layers", "four"}),
      AllOf(HasSubstr("--layers"), HasSubstr("'four'"), HasSubstr("an integer of at least 1")));
  EXPECT_THAT(error_of({"bin", "--layers", "2.5"}), HasSubstr("'2.5'"));
  EXPECT_THAT(error_of({"bin", "--layers", "0"}), HasSubstr("at least 1"));
  EXPECT_THAT(error_of({"bin", "--dropout", "1.5"}), HasSubstr("from 0 to 1"));
  EXPECT_THAT(error_of({"bin", "--lr", "0"}), HasSubstr("above 0"));
  EXPECT_THAT(error_of({"bin", "--lr", "nan"}), HasSubstr("'nan'"));
  EXPECT_THAT(error_of({"bin", "--device", "cdua"}),
              AllOf(HasSubstr("auto, cpu, cuda"), HasSubstr("did you mean 'cuda'")));
  EXPECT_THAT(error_of({"bin", "--adam-betas", "0.9"}), HasSubstr("2 values"));
  EXPECT_THAT(error_of({"bin", "--adam-betas", "0.9,1"}), HasSubstr("at least 0 and below 1"));
  EXPECT_THAT(error_of({"bin", "--update-freq", "1,,2"}), HasSubstr("'1,,2'"));
  EXPECT_THAT(error_of({"bin", "--layers"}), HasSubstr("--layers needs a value"));
  EXPECT_THAT(error_of({"bin", "--cpu=false"}),
              AllOf(HasSubstr("--cpu=false"), HasSubstr("--device")));
}

TEST_F(OptionTableTest, NegativeNumbersAreValues) {
  EXPECT_THAT(error_of({"bin", "--layers", "-1"}),
              AllOf(HasSubstr("'-1'"), HasSubstr("at least 1")));
}

TEST_F(OptionTableTest, AnErrorLeavesTheOptionsAsTheyWere) {
  EXPECT_NE(error_of({"bin", "--layers", "4", "--lr", "zero"}), "no error");
  EXPECT_EQ(sample.layers, 6);
  EXPECT_EQ(sample.data, "");
  EXPECT_FALSE(table.is_set("layers"));
}

TEST_F(OptionTableTest, AMissingOrSurplusArgumentIsAnError) {
  EXPECT_THAT(error_of({}), HasSubstr("DATA"));
  EXPECT_THAT(error_of({"bin", "bin2"}), HasSubstr("'bin2'"));
}

TEST_F(OptionTableTest, APathWithAnEqualsSignIsNotAnOverride) {
  ASSERT_TRUE(table.parse({"runs/a.b/x=1"}));
  EXPECT_EQ(sample.data, "runs/a.b/x=1");
}

TEST_F(OptionTableTest, ContradictingShorthandsAreAnError) {
  EXPECT_THAT(error_of({"bin", "--cpu", "--device", "cuda"}),
              AllOf(HasSubstr("--cpu"), HasSubstr("cuda")));
  EXPECT_TRUE(table.parse({"bin", "--cpu", "--device", "cpu"}));
}

TEST_F(OptionTableTest, FlagsOfTheReferenceAreNoticedOrRefused) {
  ASSERT_TRUE(table.parse({"bin", "--world-size", "1", "--no-flatten"}));
  EXPECT_THAT(table.notices(),
              ElementsAre(HasSubstr("--world-size 1"), HasSubstr("nothing to flatten")));
  EXPECT_THAT(error_of({"bin", "--world-size", "2"}),
              AllOf(HasSubstr("--world-size 2"), HasSubstr("only 1")));
  EXPECT_THAT(error_of({"bin", "--fp16"}), AllOf(HasSubstr("--fp16"), HasSubstr("leave it out")));
}

TEST_F(OptionTableTest, AShorthandMayStandInAFileAndInAnOverride) {
  ASSERT_TRUE(table.parse({"bin", "--config", yaml_file("run: {cpu: true}\n")}));
  EXPECT_EQ(sample.device, "cpu");
  sample.device = "auto";
  ASSERT_TRUE(table.parse({"bin", "--config", yaml_file("run: {cpu: false}\n")}));
  EXPECT_EQ(sample.device, "auto");
  ASSERT_TRUE(table.parse({"bin", "run.cpu=True"}));
  EXPECT_EQ(sample.device, "cpu");
  EXPECT_THAT(error_of({"bin", "run.cpu=often"}), HasSubstr("true or false"));
  EXPECT_THAT(error_of({"bin", "--config", yaml_file("cpu: often\n")}), HasSubstr("true or false"));
}

TEST_F(OptionTableTest, HydrasOwnSettingsAreNoticed) {
  ASSERT_TRUE(table.parse({"bin", "hydra.run.dir=out"}));
  EXPECT_THAT(table.notices(), ElementsAre(HasSubstr("hydra.run.dir=out")));
}

TEST_F(OptionTableTest, HelpReadsNothing) {
  EXPECT_FALSE(table.parse({"--layers", "4", "--help"}));
  EXPECT_EQ(sample.layers, 6);
  EXPECT_FALSE(table.parse({"-h"}));
}

TEST_F(OptionTableTest, YamlErrorsNameFileLineAndOption) {
  EXPECT_THAT(error_of({"bin", "--config", yaml_file("lr: 0.5\nlayer: 3\n")}),
              AllOf(HasSubstr("config.yaml:2"), HasSubstr("'layers'")));
  EXPECT_THAT(error_of({"bin", "--config", yaml_file("layers: many\n")}),
              AllOf(HasSubstr("config.yaml:1"), HasSubstr("many")));
  EXPECT_THAT(error_of({"bin", "--config", yaml_file("model: {lr: 0.5}\n")}), HasSubstr("'run'"));
  EXPECT_THAT(error_of({"bin", "--config", yaml_file("modle: {layers: 1}\n")}),
              AllOf(HasSubstr("no group 'modle' (did you mean 'model'?)"),
                    HasSubstr("the groups are model, run")));
  EXPECT_THAT(error_of({"bin", "modle.layers=1"}), HasSubstr("(did you mean 'model'?)"));
  EXPECT_THAT(error_of({"bin", "--config", yaml_file("[a, b]: 1\n")}),
              AllOf(HasSubstr("config.yaml:1"), HasSubstr("before the colon")));
  EXPECT_THAT(error_of({"bin", "--config", yaml_file("layers: 1\nmodel: {layers: 2}\n")}),
              HasSubstr("twice"));
  EXPECT_THAT(error_of({"bin", "--config", yaml_file("layers: [1\n")}), HasSubstr("not YAML"));
  EXPECT_THAT(error_of({"bin", "--config", yaml_file("layers: null\n")}),
              HasSubstr("layers: '' is not allowed"));
  EXPECT_THAT(error_of({"bin", "--config", "/no/such/file.yaml"}), HasSubstr("/no/such/file.yaml"));
}

TEST_F(OptionTableTest, ALaterFileWins) {
  const auto first = yaml_file("layers: 2\nlr: 0.5\n");
  const auto second = (folder / "second.yaml").string();
  testing::write_text(second, "model:\n  layers: 3\nrun:\n");
  ASSERT_TRUE(table.parse({"bin", "--config", first, "--config", second}));
  EXPECT_EQ(sample.layers, 3);
  EXPECT_EQ(sample.rate, 0.5);
}

TEST_F(OptionTableTest, JsonAndYamlGiveBackTheSameValuesExactly) {
  ASSERT_TRUE(table.parse({"a \"b\": c", "--lr", "0.1000000000000000055", "--adam-betas",
                           "0.3,1e-17", "--valid-subset", "on,1", "--learned-pos"}));
  const auto json = table.to_json();
  const auto yaml = yaml_file(table.to_yaml());
  EXPECT_TRUE(json["model"]["dropout"].is_null());

  const Sample given = sample;
  sample = Sample();
  table.from_json(nlohmann::ordered_json::parse(json.dump()));
  EXPECT_EQ(table.to_json(), json);
  EXPECT_EQ(sample.betas, given.betas);
  sample = Sample();
  ASSERT_TRUE(table.parse({"--config", yaml}));
  EXPECT_EQ(table.to_json(), json);
  EXPECT_EQ(sample.rate, given.rate);
}

TEST_F(OptionTableTest, YamlGivesBackEveryText) {
  for (const std::string text : {"yes",         "1e5",   "0x10",
                                 "null",        "~",     "true",
                                 "???",         "${lr}", "a${",
                                 "\\${run.lr}", "a\\b",  " a ",
                                 "a: b",        "# a",   "- a",
                                 "[a, b]",      "{a}",   "&a",
                                 "*a",          "!a",    "%a",
                                 "@a",          "'a\"",  "a\nb",
                                 "a\r\n",       "\t",    "\u00e9\u2028\u4e2d",
                                 "\x01\x7F",    "a,b",   "None",
                                 "..."}) {
    ASSERT_TRUE(table.parse({"bin"}));
    sample.data = text;
    const auto yaml = yaml_file(table.to_yaml());
    sample.data.clear();
    ASSERT_TRUE(table.parse({"--config", yaml})) << text;
    EXPECT_EQ(sample.data, text);
  }
}

TEST_F(OptionTableTest, ATextThatCannotBeStoredIsRefused) {
  ASSERT_TRUE(table.parse({"runs/\xFF"}));
  EXPECT_THROW(table.to_yaml(), UsageError);
}

TEST_F(OptionTableTest, StoredOptionsAreReadStrictly) {
  ASSERT_TRUE(table.parse({"bin", "--layers", "4"}));
  EXPECT_THROW(table.from_json({{"model", {{"layrs", 2}}}}), UsageError);
  EXPECT_THROW(table.from_json({{"model", {{"layers", "2"}}}}), UsageError);
  EXPECT_THROW(table.from_json({{"model", {{"layers", 2.5}}}}), UsageError);
  EXPECT_THROW(table.from_json({{"model", {{"layers", UINT64_MAX}}}}), UsageError);
  EXPECT_THROW(table.from_json({{"run", {{"layers", 2}}}}), UsageError);
  EXPECT_THROW(table.from_json(nlohmann::ordered_json::array()), UsageError);
  EXPECT_EQ(sample.layers, 4);
  table.from_json({{"run", {{"lr", 0.5}}}});
  EXPECT_EQ(sample.layers, 6) << "what is not stored has its default";
  EXPECT_EQ(sample.rate, 0.5);
}

TEST_F(OptionTableTest, AGroupThatIsDescribedInPartsIsOneGroup) {
  int64_t heads = 2;
  table.group("model");
  table.add("heads", &heads, "Heads.");
  std::vector<std::string> names;
  for (const auto& option : table.options()) {
    if (option->group() == "model") names.push_back(option->name());
  }
  EXPECT_THAT(names, ElementsAre("layers", "dropout", "learned-pos", "heads"));
  EXPECT_EQ(table.options().back()->name(), "no-save") << "groups stay together";
  const auto help = table.help_text();
  EXPECT_EQ(help.find("Model (model)"), help.rfind("Model (model)"));
  ASSERT_TRUE(table.parse({"bin", "--config", yaml_file("model:\n  heads: 3\n")}));
  EXPECT_EQ(heads, 3);
  const auto yaml = table.to_yaml();
  EXPECT_EQ(yaml.find("model:"), yaml.rfind("model:"));
}

TEST_F(OptionTableTest, AnOptionIsOffUpToItsBound) {
  double capacity = 1;
  const auto& option = table.add("capacity", &capacity, "Capacity.").off_up_to(0);
  EXPECT_FALSE(option.is_off());
  for (const double value : {0.0, -1.0}) {
    capacity = value;
    EXPECT_TRUE(option.is_off()) << value;
  }
  sample.layers = 0;
  EXPECT_FALSE(table.at("layers").is_off()) << "it has no such bound";
}

TEST_F(OptionTableTest, GivenIsWhatDiffersFromItsDefaultWhereverItWasReadFrom) {
  const auto describe_into = [](OptionTable& into, Sample& each) {
    into.add("layers", &each.layers, "Layers.");
    into.add("lr", &each.rate, "Rate.");
  };
  const auto given = [&](const Sample& each) {
    std::vector<std::string> written;
    for_each_given(each, describe_into, [&](const OptionTable& of, const Option& option) {
      written.push_back(of.written(option));
    });
    return written;
  };
  EXPECT_THAT(given(Sample()), ElementsAre());
  ASSERT_TRUE(table.parse({"bin", "--layers", "4", "--lr", "0.25"}));
  EXPECT_THAT(given(sample), ElementsAre("--layers 4"));
  const auto stored = table.to_json();
  sample = Sample();
  table.from_json(stored);
  EXPECT_THAT(given(sample), ElementsAre("--layers 4"));
}

TEST_F(OptionTableTest, DescribingANameTwiceIsAnError) {
  EXPECT_THROW(table.add("decoder-layers", &sample.layers, "Again."), Error);
}

}  // namespace
}  // namespace evomoe
