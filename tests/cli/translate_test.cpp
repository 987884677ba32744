// evomoe generate and interactive of a translation model, as a user types them.
#include <filesystem>
#include <sstream>

#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// A small model that learns to name numbers, `w3 w5` -> `t3 t5`.
class Translate : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new testing::TemporaryFolder();
    std::string source, target;
    for (int i = 0; i < 400; ++i) {
      for (int j = 0; j <= i % 5; ++j) {
        const auto number = (i * i + j * (i % 7 + 1)) % 5;
        source += fmt::format("{}w{}", j == 0 ? "" : " ", number);
        target += fmt::format("{}t{}", j == 0 ? "" : " ", number);
      }
      source += "\n";
      target += "\n";
    }
    prepare(source, "de");
    prepare(target, "en");
    // Each text as one side of the pair: the same files under the names of a pair.
    const auto pair = folder_->path() / "pair";
    std::filesystem::create_directories(pair);
    for (const std::string lang : {"de", "en"}) {
      const auto bin = folder_->path() / lang;
      std::filesystem::copy_file(bin / "dict.txt", pair / ("dict." + lang + ".txt"));
      for (const std::string split : {"train", "valid", "test"}) {
        for (const std::string extension : {"bin", "idx"})
          std::filesystem::copy_file(bin / (split + "." + extension),
                                     pair / (split + ".de-en." + lang + "." + extension));
      }
    }
    const auto trained = evomoe(fmt::format(
        "train {0}/pair --task translation --arch transformer --save-dir {0}/run "
        "--encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 48 --decoder-embed-dim 48 "
        "--encoder-ffn-embed-dim 64 --decoder-ffn-embed-dim 64 --encoder-attention-heads 2 "
        "--decoder-attention-heads 2 --dropout 0 --batch-size 32 --lr 0.005 --lr-scheduler "
        "inverse_sqrt --warmup-updates 50 "
        "--adam-betas 0.9,0.98 --max-update 600 "
        "--criterion label_smoothed_cross_entropy --label-smoothing 0.1 --log-format none "
        "--threads 1 --disable-validation",
        folder_->path().string()));
    ASSERT_EQ(trained.exit_code, 0) << trained.err;
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static void prepare(const std::string& text, const std::string& lang) {
    testing::write_text(folder_->path() / ("train." + lang), text);
    const auto few = text.substr(0, text.find('\n', 150) + 1);
    testing::write_text(folder_->path() / ("test." + lang), few);
    const auto result = evomoe(fmt::format(
        "preprocess --only-source --trainpref {0}/train.{1} --validpref {0}/test.{1} --testpref "
        "{0}/test.{1} --destdir {0}/{1}",
        folder_->path().string(), lang));
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  static testing::CommandResult evomoe(const std::string& arguments) {
    return testing::run_command(testing::program().string() + " " + arguments);
  }
  static testing::CommandResult generate(const std::string& arguments) {
    return evomoe(fmt::format(
        "generate {0}/pair --path {0}/run/checkpoint_last --threads 1 --max-len-b 12 {1}",
        folder_->path().string(), arguments));
  }
  static std::string lines(const std::string& text, const std::string& begin) {
    std::string found;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
      if (line.starts_with(begin)) found += line.substr(line.rfind('\t') + 1) + "\n";
    }
    return found;
  }

  static double bleu(const std::string& text) {
    const std::string begin = "Generate test with beam=5: BLEU4 = ";
    const auto at = text.find(begin);
    return at == std::string::npos ? -1 : std::stod(text.substr(at + begin.size()));
  }

  static testing::TemporaryFolder* folder_;
};

testing::TemporaryFolder* Translate::folder_ = nullptr;

TEST_F(Translate, TheReadmeCommandTranslatesTheTestSplit) {
  const auto result = generate("--beam 5 --batch-size 128 --remove-bpe");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("S-0\tw0\nT-0\tt0\nH-0\t-"));
  EXPECT_GT(bleu(result.out), 80) << "what was learnt is found again: 100";
  EXPECT_THAT(result.err, HasSubstr("Translated"));
  // Batches of another size: the same hypotheses.
  const auto single = generate("--beam 5 --batch-size 1 --remove-bpe");
  EXPECT_EQ(lines(single.out, "D-").size(), lines(result.out, "D-").size());
  EXPECT_EQ(bleu(single.out), bleu(result.out));
}

TEST_F(Translate, TheLinesMayGoToAFile) {
  const auto results = (folder_->path() / "results").string();
  const auto result = generate("--results-path " + results + " --gen-subset valid --beam 2");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(testing::read_text(results + "/generate-valid.txt"),
              HasSubstr("Generate valid with beam=2: BLEU4"));
}

TEST_F(Translate, CopiesOfAModelTranslateTogetherAsItDoesAlone) {
  const auto run = (folder_->path() / "run/checkpoint_last").string();
  const auto together = generate("--path " + run + ":" + run);
  ASSERT_EQ(together.exit_code, 0) << together.err;
  EXPECT_EQ(lines(together.out, "D-"), lines(generate("").out, "D-"));
}

TEST_F(Translate, SamplesAreRepeatedByTheirSeed) {
  const auto sampled = [](int seed) {
    const auto result = generate(fmt::format(
        "--sampling --temperature 3 --beam 3 --nbest 3 --batch-size 7 --seed {}", seed));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return lines(result.out, "H-");
  };
  EXPECT_EQ(sampled(4), sampled(4));
  EXPECT_NE(sampled(4), sampled(5));
}

TEST_F(Translate, InteractiveTranslatesLines) {
  testing::write_text(folder_->path() / "lines", "w4 w0 w1\nw0\n");
  const auto result = evomoe(fmt::format(
      "interactive {0}/pair --path {0}/run/checkpoint_last --input {0}/lines --buffer-size 2 "
      "--batch-size 2 --remove-bpe --threads 1 --max-len-b 12",
      folder_->path().string()));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("S-0\tw4 w0 w1\nW-0\t"));
  EXPECT_EQ(lines(result.out, "D-"), "t4 t0 t1\nt0\n");
}

TEST_F(Translate, SourcesThatAreTooLongAreLeftOutOrCutWhereAsked) {
  const auto path = folder_->path().string();
  const auto trained = evomoe(fmt::format(
      "train {0}/pair --task translation --arch transformer --save-dir {0}/short "
      "--encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 8 --decoder-embed-dim 8 "
      "--encoder-ffn-embed-dim 8 --decoder-ffn-embed-dim 8 --encoder-attention-heads 1 "
      "--decoder-attention-heads 1 --batch-size 32 --max-update 1 --max-source-positions 4 "
      "--log-format none --threads 1 --disable-validation",
      path));
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const auto count = [](const std::string& text, const std::string& begin) {
    int found = 0;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) found += line.starts_with(begin) ? 1 : 0;
    return found;
  };
  const auto all = count(testing::read_text(folder_->path() / "test.de"), "w");
  const auto generate = [&](const std::string& flag) {
    return evomoe(fmt::format(
        "generate {0}/pair --path {0}/short/checkpoint_last --max-len-b 3 --beam 1 --threads 1 {1}",
        path, flag));
  };
  EXPECT_THAT(generate("").err, HasSubstr("--skip-invalid-size-inputs-valid-test"));
  const auto left_out = count(generate("--skip-invalid-size-inputs-valid-test").out, "S-");
  EXPECT_GT(left_out, 0);
  EXPECT_LT(left_out, all);
  EXPECT_EQ(count(generate("--truncate-source").out, "S-"), all);
  const auto validate = [&](const std::string& flag) {
    return evomoe(fmt::format(
        "validate {0}/pair --path {0}/short/checkpoint_last --batch-size 1000 --threads 1 "
        "--required-batch-size-multiple 1 --log-format json {1}",
        path, flag));
  };
  EXPECT_THAT(validate("").err, HasSubstr("--skip-invalid-size-inputs-valid-test"));
  EXPECT_THAT(validate("--skip-invalid-size-inputs-valid-test").out,
              HasSubstr(fmt::format("\"valid_bsz\": \"{}\"", left_out)));
  EXPECT_THAT(validate("--truncate-source").out,
              HasSubstr(fmt::format("\"valid_bsz\": \"{}\"", all)));
}

TEST_F(Translate, BatchesAreMultiplesOfWhatIsAsked) {
  const auto batches = [](const std::string& multiple) {
    const auto result = evomoe(fmt::format(
        "validate {0}/pair --path {0}/run/checkpoint_last --max-tokens 70 --valid-subset train "
        "--threads 1 --log-format json {1}",
        folder_->path().string(), multiple));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out.substr(result.out.find("train_bsz"), 20);
  };
  EXPECT_EQ(batches(""), batches("--required-batch-size-multiple 8")) << "as in training";
  EXPECT_NE(batches(""), batches("--required-batch-size-multiple 1"));
}

TEST_F(Translate, WhatCannotWorkIsRefused) {
  const auto refused = [](const testing::CommandResult& result, const std::string& word) {
    EXPECT_NE(result.exit_code, 0);
    EXPECT_THAT(result.err, HasSubstr(word));
  };
  refused(generate("--print-alignment"), "fast_align");
  refused(generate("--tokenizer moses"), "moses");
  refused(generate("--nbest 6"), "--beam");
  refused(generate("--sampling"), "--nbest 5");
  refused(generate("--gen-subset tset"), "tset");
  refused(generate("--prompt w1"), "interactive");
  refused(generate("-s fr"), "--source-lang de");
  EXPECT_EQ(generate("-s de --target-lang en --beam 1 --quiet").exit_code, 0);
  refused(generate("--min-len 13"), "--min-len 13");
  refused(generate("--diverse-beam-groups 2"), "--sampling");
}

TEST_F(Commands, ALanguageModelGoesOnWithTheItemsOfASplit) {
  ASSERT_EQ(evomoe(train_arguments() + "--max-update 2").exit_code, 0);
  for (const std::string command : {"generate --gen-subset valid", "validate"}) {
    expect_refused(fmt::format("{1} {0}/bin --path {0}/run/checkpoint_last --truncate-source",
                               folder_.path().string(), command),
                   {"--truncate-source needs an encoder-decoder", "--task language_modeling"}, 1);
  }
  const auto result = evomoe(fmt::format(
      "generate {0}/bin --path {0}/run/checkpoint_last --gen-subset valid --beam 2 --max-len-b 15 "
      "--min-len 0",
      folder_.path().string()));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("S-0\t"));
  EXPECT_THAT(result.out, HasSubstr("T-0\t"));
  EXPECT_THAT(result.out, HasSubstr("Generate valid with beam=2: BLEU4 = "));
  expect_refused(fmt::format("generate --path {0}/run/checkpoint_last --prompt w1 --beam 2",
                             folder_.path().string()),
                 {"--beam", "--gen-subset"});
}

}  // namespace
}  // namespace evomoe
