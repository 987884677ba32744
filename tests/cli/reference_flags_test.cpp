#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <sstream>

#include "evomoe/config/describe.h"
#include "evomoe/generate/evaluation_options.h"
#include "evomoe/train/options.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

/// The option table of each program, with the options that it fills.
class Tables {
 public:
  Tables() {
    const auto plain = [](OptionTable& table, auto& options) { describe(table, options); };
    add<TrainOptions>("train", plain);
    add<EvalOptions>("validate", describe_validate);
    add<EvalOptions>("eval-lm", describe_eval_lm);
    add<GenerateOptions>("generate", plain);
    add<InteractiveOptions>("interactive", plain);
    add<ScoreOptions>("score", plain);
    add<PreprocessFlags>("preprocess", plain);
  }

  const OptionTable& at(const std::string& program) const { return *tables_.at(program); }
  auto begin() const { return tables_.begin(); }
  auto end() const { return tables_.end(); }

 private:
  template <typename Options, typename Describe>
  void add(const std::string& program, Describe describe_into) {
    const auto options = std::make_shared<Options>();
    held_.push_back(options);
    tables_[program] = std::make_unique<OptionTable>(program, "");
    describe_into(*tables_[program], *options);
  }

  std::vector<std::shared_ptr<void>> held_;
  std::map<std::string, std::unique_ptr<OptionTable>> tables_;
};

/// Does a value follow the option of this name?
bool takes_value(const OptionTable& table, const std::string& name) {
  for (const auto& option : table.options()) {
    const auto& aliases = option->aliases();
    if (option->name() == name || std::find(aliases.begin(), aliases.end(), name) != aliases.end())
      return option->type() != OptionType::kFlag && !option->bare();
  }
  for (const auto& flag : table.legacy_flags()) {
    if (flag.name == name) return flag.takes_value;
  }
  return false;  // a shorthand
}

struct ReferenceOption {
  std::string file, kind;
  std::vector<std::string> programs, names;
};

std::vector<std::string> split(const std::string& text, char separator) {
  std::istringstream stream(text);
  std::vector<std::string> parts;
  for (std::string part; std::getline(stream, part, separator);) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

std::vector<ReferenceOption> reference_options() {
  std::istringstream lines(
      testing::read_text(testing::source_dir() / "tests" / "cli" / "reference_flags.txt"));
  std::vector<ReferenceOption> options;
  ReferenceOption of_section;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    auto words = split(line, ' ');
    const auto first = words.front();
    words.erase(words.begin());
    if (line[0] == ' ') {
      for (const auto& names : words) {
        options.push_back(of_section);
        options.back().kind = first;
        options.back().names = split(names, ',');
      }
    } else {
      of_section.file = first;
      of_section.programs = words;
    }
  }
  return options;
}

TEST(ReferenceFlags, EachWorksOrHasNoEffectOrIsRefusedInEveryProgramThatHasIt) {
  const Tables tables;
  const auto options = reference_options();
  for (const auto& option : options) {
    for (const auto& program : option.programs) {
      const auto& table = tables.at(program);
      for (const auto& name : option.names) {
        SCOPED_TRACE(program + " --" + name + " of " + option.file);
        EXPECT_TRUE(table.knows(name));
        if (table.knows(name) && option.kind != "optional") {
          EXPECT_EQ(takes_value(table, name), option.kind == "value");
        }
      }
    }
  }
  EXPECT_GT(options.size(), 500);
}

/// Why a flag has no effect; empty: it has one.
std::string reason(const OptionTable& table, const std::string& name) {
  EXPECT_TRUE(table.knows(name)) << name;
  for (const auto& flag : table.legacy_flags()) {
    if (flag.name == name) return flag.note;
  }
  return "";
}

TEST(ReferenceFlags, WhatTheReferencesProgramsHeedIsHeededOrTheReasonIsOfThatProgram) {
  const Tables tables;
  const std::string skip = "skip-invalid-size-inputs-valid-test";
  const std::string multiple = "required-batch-size-multiple", truncate = "truncate-source";
  for (const auto& [program, name] :
       std::vector<std::pair<std::string, std::string>>{{"validate", skip},
                                                        {"validate", multiple},
                                                        {"validate", truncate},
                                                        {"generate", skip},
                                                        {"generate", multiple},
                                                        {"generate", truncate},
                                                        {"interactive", skip},
                                                        {"validate", "eval-bleu"}}) {
    EXPECT_EQ(reason(tables.at(program), name), "") << program << " --" << name;
  }
  using ::testing::HasSubstr;
  EXPECT_THAT(reason(tables.at("eval-lm"), multiple), HasSubstr("order of the text"));
  EXPECT_THAT(reason(tables.at("eval-lm"), skip), HasSubstr("left out"));
  EXPECT_THAT(reason(tables.at("eval-lm"), truncate), HasSubstr("no sources"));
  EXPECT_THAT(reason(tables.at("eval-lm"), "valid-subset"), HasSubstr("--gen-subset"));
  EXPECT_THAT(reason(tables.at("generate"), "eval-bleu"), HasSubstr("train and validate"));
  EXPECT_THAT(reason(tables.at("generate"), "valid-subset"), HasSubstr("--gen-subset"));
  EXPECT_THAT(reason(tables.at("interactive"), truncate), HasSubstr("read whole"));
  EXPECT_THAT(reason(tables.at("validate"), "max-tokens-valid"), HasSubstr("--max-tokens"));
}

TEST(ReferenceFlags, ThoseWithoutACounterpartAreDescribedOnceAndSayWhy) {
  for (const auto& [program, table] : Tables()) {
    std::vector<std::string> names;
    for (const auto& option : table->options()) {
      names.push_back(option->name());
      names.insert(names.end(), option->aliases().begin(), option->aliases().end());
    }
    for (const auto& shorthand : table->shorthands()) names.push_back(shorthand.name);
    for (const auto& flag : table->legacy_flags()) {
      names.push_back(flag.name);
      EXPECT_NE(flag.note, "") << program << " --" << flag.name;
    }
    std::sort(names.begin(), names.end());
    EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end()) << program;
  }
}

}  // namespace
}  // namespace evomoe
