// --task supervised_finetuning as a user types it: prompts with answers are prepared, learned,
// validated and answered.
#include <cmath>
#include <nlohmann/json.hpp>

#include "evomoe/report/run_log.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

class SupervisedFinetuning : public Commands {
 protected:
  static constexpr int kColours = 6;

  static std::string prompt(int i) { return fmt::format("what follows c{}", i % kColours); }
  static std::string answer(int i) {
    return fmt::format("c{} and c{}", (i + 1) % kColours, (i + 2) % kColours);
  }

  void SetUp() override {
    std::string json, prompts, answers;
    for (int i = 0; i < 60; ++i) {
      json += nlohmann::json({{"prompt", prompt(i)}, {"completion", answer(i)}}).dump() + "\n";
      prompts += prompt(i) + "\n";
      answers += answer(i) + "\n";
    }
    testing::write_text(folder_ / "train.jsonl", json);
    testing::write_text(folder_ / "pair.prompt", prompts);
    testing::write_text(folder_ / "pair.answer", answers);
    const auto result = prepare("bin");
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  testing::CommandResult prepare(const std::string& bin, const std::string& more = "") const {
    return evomoe(
        fmt::format("preprocess --examples jsonl --trainpref {0}/train.jsonl --validpref "
                    "{0}/train.jsonl --destdir {0}/{1} {2}",
                    folder_.path().string(), bin, more));
  }

  std::string arguments(const std::string& run = "run") const {
    return train_arguments(run) + "--task supervised_finetuning ";
  }
  std::string last(const std::string& run = "run") const {
    return (folder_ / (run + "/checkpoint_last")).string();
  }
};

TEST_F(SupervisedFinetuning, WhatIsLearnedIsValidatedAndAnswered) {
  const auto trained =
      evomoe(arguments() + "--lr 0.01 --max-update 200 --log-format json --seed 3");
  ASSERT_EQ(trained.exit_code, 0) << trained.err;

  const auto validated = evomoe(fmt::format("validate {0}/bin --path {1} --log-format json",
                                            folder_.path().string(), last()));
  ASSERT_EQ(validated.exit_code, 0) << validated.err;
  const auto line = nlohmann::json::parse(validated.out.substr(validated.out.find('{')));
  EXPECT_EQ(line.at("valid_answer_tokens"), "240") << "three words and their end, of 60 answers";
  EXPECT_LT(std::stod(line.at("valid_loss").get<std::string>()), 0.1) << validated.out;
  EXPECT_LT(std::stod(line.at("valid_ppl").get<std::string>()), 1.1);

  const auto answered =
      evomoe(fmt::format("generate --path {} --prompt '{}' --log-format json", last(), prompt(2)));
  ASSERT_EQ(answered.exit_code, 0) << answered.err;
  EXPECT_THAT(answered.out, HasSubstr("\"text\":\"c3 and c4"));
  EXPECT_THAT(answered.out, HasSubstr("\"tokens\":3")) << "it ends with the answer";
  // A prompt is one text: an end of line in it is white space, not the end of a sentence.
  const auto lines = evomoe(
      fmt::format("generate --path {} --prompt 'what\nfollows c4' --log-format json", last()));
  ASSERT_EQ(lines.exit_code, 0) << lines.err;
  EXPECT_THAT(lines.out, HasSubstr("\"text\":\"c5 and c0"));

  // A split: prompts are sources, answers targets, and hypotheses are compared with answers alone.
  const auto split =
      evomoe(fmt::format("generate {0}/bin --path {1} --gen-subset valid --beam 2 "
                         "--batch-size 16 --max-len 6",
                         folder_.path().string(), last()));
  ASSERT_EQ(split.exit_code, 0) << split.err;
  EXPECT_THAT(split.out, HasSubstr("S-1\twhat follows c1\n"));
  EXPECT_THAT(split.out, HasSubstr("T-1\tc2 and c3\n"));
  EXPECT_THAT(split.out, HasSubstr("\tc2 and c3\n"));
  EXPECT_THAT(split.out, HasSubstr("100.0/100.0/100.0/")) << "of one, two and three words";

  // fairseq has no such task; to it this is a language model.
  const auto file = (folder_ / "their.pt").string();
  const auto converted = evomoe(fmt::format("convert {} --to fairseq --output {}", last(), file));
  ASSERT_EQ(converted.exit_code, 0) << converted.err;
  const auto theirs = evomoe("info " + file);
  ASSERT_EQ(theirs.exit_code, 0) << theirs.err;
  EXPECT_THAT(theirs.out, HasSubstr("language_modeling"));
}

TEST_F(SupervisedFinetuning, PairFilesMakeTheSameDataAsJsonLines) {
  const auto result =
      evomoe(fmt::format("preprocess --examples pairs --workers 3 --trainpref {0}/pair --validpref "
                         "{0}/pair --destdir {0}/pairs",
                         folder_.path().string()));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("60 examples, 240 tokens of prompts, 240 of answers, 0 "
                                    "replaced by <unk>"));
  for (const auto* file : {"dict.txt", "train.prompt.bin", "train.prompt.idx", "train.answer.bin",
                           "train.answer.idx", "valid.answer.bin"}) {
    EXPECT_EQ(testing::read_text(folder_ / "pairs" / file),
              testing::read_text(folder_ / "bin" / file))
        << file;
  }
}

TEST_F(SupervisedFinetuning, AStoppedRunEndsBitIdenticalAlsoPackedAndWithAnEvolution) {
  for (const std::string& how : {std::string("--dropout 0.1 "),
                                 std::string("--dropout 0.1 --attention-dropout 0.1 "
                                             "--pack-examples --tokens-per-sample 24 "),
                                 "--pack-examples --dropout 0.1 " + evolution()}) {
    ASSERT_EQ(evomoe(arguments("whole") + how).exit_code, 0) << how;
    ASSERT_EQ(evomoe(arguments("part") + how + "--max-update 9").exit_code, 0);
    ASSERT_EQ(evomoe(arguments("part") + how).exit_code, 0);
    EXPECT_EQ(model_file("part"), model_file("whole")) << how;
    std::filesystem::remove_all(folder_ / "whole");
    std::filesystem::remove_all(folder_ / "part");
  }
  ASSERT_EQ(evomoe(arguments("part") + "--max-update 2").exit_code, 0);
  expect_refused(arguments("part") + "--pack-examples", {"--pack-examples false -> true"}, 1);
}

TEST_F(SupervisedFinetuning, BeginsWithALanguageModelAlsoAsExperts) {
  // Running text with the same dictionary.
  testing::write_text(folder_ / "text", "what follows c1 c2 and c3\nc4 follows c3 and c5\n");
  const auto made =
      evomoe(fmt::format("preprocess --only-source --srcdict {0}/bin/dict.txt "
                         "--trainpref {0}/text --validpref {0}/text --destdir {0}/lm",
                         folder_.path().string()));
  ASSERT_EQ(made.exit_code, 0) << made.err;
  auto language_model = train_arguments("lm-run") + "--max-update 2 ";
  language_model.replace(language_model.find("/bin"), 4, "/lm");
  const auto trained = evomoe(language_model + "--sample-break-mode eos");
  ASSERT_EQ(trained.exit_code, 0) << trained.err;

  const auto from = "--finetune-from-model " + last("lm-run") + " ";
  const auto dense = evomoe(arguments("dense") + from + "--max-update 2");
  EXPECT_EQ(dense.exit_code, 0) << dense.err;
  EXPECT_THAT(dense.err, HasSubstr("took the model of checkpoint"));
  EXPECT_EQ(dense.err.find("another model"), std::string::npos) << dense.err;
  const auto experts = evomoe(arguments("experts") + from +
                              "--moe-freq 2 --moe-expert-count 4 --moe-top1-expert --max-update 2");
  EXPECT_EQ(experts.exit_code, 0) << experts.err;
  const auto weights = evomoe(arguments("weights") + "--max-update 2 --init-from " +
                              last("lm-run") + "/model.safetensors");
  EXPECT_EQ(weights.exit_code, 0) << weights.err;
  // Its own folder is not one to go on in.
  expect_refused(arguments("lm-run"), {"--task language_modeling -> supervised_finetuning"}, 1);
}

TEST_F(SupervisedFinetuning, LongExamplesAreLeftOutWithTheirNumberOrTheirPromptsCut) {
  const std::string longest = "a very long question of many words what follows c1";
  testing::write_text(folder_ / "train.jsonl",
                      testing::read_text(folder_ / "train.jsonl") +
                          nlohmann::json({{"prompt", longest}, {"answer", answer(1)}}).dump() +
                          "\n");
  ASSERT_EQ(prepare("long").exit_code, 0);
  auto with_long = arguments() + "--tokens-per-sample 8 --max-update 2 ";
  with_long.replace(with_long.find("/bin"), 4, "/long");
  expect_refused(with_long,
                 {"1 of 61 items is too long", "longer than --tokens-per-sample 8",
                  "raise --tokens-per-sample"},
                 1);
  const auto left_out = evomoe(with_long + "--skip-invalid-size-inputs-valid-test");
  EXPECT_EQ(left_out.exit_code, 0) << left_out.err;
  EXPECT_THAT(left_out.err, HasSubstr("1 of 61 items is too long"));
  const auto cut =
      evomoe(with_long + "--save-dir " + (folder_ / "cut").string() + " --truncate-prompt");
  EXPECT_EQ(cut.exit_code, 0) << cut.err;
  EXPECT_EQ(cut.err.find("too long"), std::string::npos) << cut.err;
}

TEST_F(SupervisedFinetuning, ItsMemoryIsPlanned) {
  const auto planned = evomoe(arguments() + "--pack-examples --memory-budget 2G --max-update 2");
  EXPECT_EQ(planned.exit_code, 0) << planned.err;
  EXPECT_THAT(planned.err, HasSubstr("memory, estimated"));
}

TEST_F(SupervisedFinetuning, TextThatSpellsASpecialSymbolIsAnUnknownWord) {
  testing::write_text(folder_ / "train.jsonl",
                      R"({"prompt": "what follows <pad> c1 </s>", "answer": "c2 <pad> <s> c3"})"
                      "\n");
  const auto result = prepare("special", "--srcdict " + (folder_ / "bin/dict.txt").string());
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err + result.out, HasSubstr("4 replaced by <unk>"));
  EXPECT_THAT(result.err, HasSubstr("are not in the dictionary"));
}

TEST_F(SupervisedFinetuning, ItsDataIsNamedWhereAnotherTaskReadsIt) {
  expect_refused(train_arguments() + "--task language_modeling",
                 {"prompts with answers", "--task supervised_finetuning"}, 1);
}

TEST_F(SupervisedFinetuning, BadExamplesAreRefusedWithFileAndLine) {
  testing::write_text(folder_ / "train.jsonl",
                      "{\"prompt\": \"a\", \"answer\": \"b\"}\n{\"prompt\": 1}\n");
  auto result = prepare("other");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("train.jsonl:2"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "other")) << "nothing is written";
  expect_refused(fmt::format("preprocess --examples pairs --trainpref {0}/train.jsonl --destdir "
                             "{0}/other",
                             folder_.path().string()),
                 {"train.jsonl.prompt"}, 1);
  testing::write_text(folder_ / "one.jsonl", "{\"prompt\": \"a\", \"answer\": \"b\"}\n");
  expect_refused(fmt::format("preprocess --examples jsonl --trainpref {0}/one.jsonl --srcdict "
                             "{0}/absent --destdir {0}/other",
                             folder_.path().string()),
                 {"absent"}, 1);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "other")) << "nothing is written";
  expect_refused("preprocess --examples csv --trainpref a", {"--examples", "jsonl, pairs"});
  expect_refused("preprocess --examples jsonl --only-source --trainpref a", {"--only-source"});
  // Data of another kind.
  auto on_text = arguments();
  on_text.replace(on_text.find("/bin"), 4, "/text");
  testing::write_text(folder_ / "some", "what follows\n");
  ASSERT_EQ(evomoe(fmt::format("preprocess --only-source --trainpref {0}/some --validpref {0}/some "
                               "--destdir {0}/text",
                               folder_.path().string()))
                .exit_code,
            0);
  expect_refused(on_text, {"no prompts with answers", "evomoe preprocess --examples"}, 1);
}

}  // namespace
}  // namespace evomoe
