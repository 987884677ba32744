// `evomoe preprocess` on pairs of languages, as a user types it.
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class PreprocessCommand : public Commands {
 protected:
  void SetUp() override {
    testing::write_text(folder_ / "train.de", "ein hund\nzwei hunde\n");
    testing::write_text(folder_ / "train.en", "a dog\ntwo dogs\n");
  }
  std::string arguments() const {
    return fmt::format("preprocess -s de -t en --trainpref {0}/train --destdir {0}/pair ",
                       folder_.path().string());
  }
};

TEST_F(PreprocessCommand, MakesAPairAndPrintsALineForEachFile) {
  const auto result = evomoe(arguments() + "--joined-dictionary --dataset-impl mmap");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("[de] Dictionary: 16 types"),
                                HasSubstr("train.en: 2 sents, 6 tokens, 0.0% replaced by <unk>")));
  EXPECT_EQ(testing::read_text(folder_ / "pair/preprocess.log"), result.out);
  for (const auto* name :
       {"dict.de.txt", "dict.en.txt", "train.de-en.de.idx", "train.de-en.en.bin"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ / "pair" / name)) << name;
  }
}

TEST_F(PreprocessCommand, MakesTheDictionariesAlone) {
  const auto result = evomoe(arguments() + "--dict-only");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "pair" / "dict.de.txt"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "pair" / "dict.en.txt"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "pair" / "train.de-en.de.idx"));
}

TEST_F(PreprocessCommand, RefusesWhatItCannotDoBeforeAnyWork) {
  expect_refused(arguments() + "--align-suffix align", {"--align-suffix", "alignments"});
  expect_refused(arguments() + "--alignfile a", {"--alignfile", "alignments"});
  expect_refused(arguments() + "--dataset-impl raw", {"--dataset-impl", "raw", "mmap"});
  expect_refused(arguments() + "--srcdict absent", {"absent"}, 1);
  testing::write_text(folder_ / "no_dictionary", "a dog\n");
  expect_refused(fmt::format("{}--tgtdict {}/no_dictionary", arguments(), folder_.path().string()),
                 {"no_dictionary:1", "symbol count"}, 1);
  expect_refused(arguments() + "--bpe gpt2 --gpt2-encoder-json absent --gpt2-vocab-bpe absent",
                 {"absent"}, 1);
  testing::write_text(folder_ / "train.en", "a dog\n");
  expect_refused(arguments(), {"train.de has 2 lines", "train.en has 1"}, 1);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "pair"));
}

TEST_F(Commands, WhatPreprocessWritesOtherCommandsRead) {
  // A dictionary with a symbol twice, a special one anew, and SentencePiece's counts.
  testing::write_text(
      folder_ / "given",
      "the -1\nw4 1_0\nsees -2\nthe -3 #fairseq:overwrite\n<unk> 0 #fairseq:overwrite\n");
  testing::write_text(folder_ / "dos.txt", "the w4\r\nsees w4\r\n");
  const auto made =
      evomoe(fmt::format("preprocess --only-source --srcdict {0}/given --trainpref {0}/dos.txt "
                         "--validpref {0}/dos.txt "
                         "--destdir {0}/again",
                         folder_.path().string()));
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_EQ(testing::read_text(folder_ / "again/dict.txt"),
            "the -1\nw4 10\nsees -2\nthe -3 #fairseq:overwrite\n<unk> 0 #fairseq:overwrite\n");
  auto arguments = train_arguments("other") + "--max-update 1";
  arguments.replace(arguments.find("/bin"), 4, "/again");
  const auto trained = evomoe(arguments);
  EXPECT_EQ(trained.exit_code, 0) << trained.err;
  const auto generated =
      evomoe(fmt::format("generate --path {}/other/checkpoint_last --prompt 'the w4' --max-len 2",
                         folder_.path().string()));
  EXPECT_EQ(generated.exit_code, 0) << generated.err;
}

TEST_F(Commands, PreprocessWritesNoDictionaryWithoutAWord) {
  expect_refused(
      fmt::format("preprocess --only-source --trainpref {0}/train.txt --destdir {0}/none "
                  "--thresholdsrc 100000 --padding-factor 1",
                  folder_.path().string()),
      {"train.txt", "--thresholdsrc 100000"}, 1);
}

}  // namespace
}  // namespace evomoe
