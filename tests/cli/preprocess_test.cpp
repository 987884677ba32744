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

TEST_F(PreprocessCommand, TakesFoldersOfJsonLinesAndCountsBadRows) {
  std::filesystem::create_directories(folder_ / "in");
  testing::write_text(folder_ / "in/a.jsonl", "{\"body\": \"a dog\"}\nno\n{\"body\": \"a cat\"}\n");
  testing::write_text(folder_ / "in/b.txt", "a line\n");
  testing::write_text(folder_ / "in/notes.md", "no text");
  const auto at = folder_.path().string();
  const auto command = fmt::format(
      "preprocess --only-source --trainpref {0}/in --text-column body --destdir {0}/docs ", at);
  expect_refused(command, {"a.jsonl:2", "no JSON", "--on-bad-row skip"}, 1);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "docs/train.idx"));
  std::filesystem::remove_all(folder_ / "docs");
  const auto result = evomoe(command + "--on-bad-row skip");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out,
              AllOf(HasSubstr("in: 3 sents, 9 tokens"), HasSubstr("\n1 bad row was left out\n")));
  EXPECT_THAT(result.err,
              AllOf(HasSubstr("a.jsonl:2: left out: this is no JSON"), HasSubstr("1 (notes.md)")));
  const auto learnt = evomoe(fmt::format(
      "bpe train {0}/in --text-column body --on-bad-row skip --vocab-size 257 --destdir {0}/bpe",
      at));
  EXPECT_EQ(learnt.exit_code, 0) << learnt.err;
  EXPECT_THAT(learnt.out, AllOf(HasSubstr("257 tokens"), HasSubstr("1 bad row was left out")));
  expect_refused(fmt::format("bpe train {0}/in --text-column body --destdir {0}/bpe", at),
                 {"a.jsonl:2"}, 1);
  expect_refused(fmt::format("bpe train '{}/in/*.csv' --destdir {}", at, at), {"*.csv", "no file"},
                 1);
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
