#include "evomoe/data/binarize.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <sstream>

#include "evomoe/data/indexed_dataset.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/learn_bpe.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Ids = std::vector<int64_t>;
using testing::learn_bpe;
using testing::read_text;
using testing::TemporaryFolder;
using testing::write_text;

std::string long_text() {
  std::string text;
  for (int line = 0; text.size() < (5u << 20); ++line) {  // several pieces of work
    for (int word = 0; word < line % 23; ++word)
      text += fmt::format("w{} ", (line * 7919 + word * 31) % 500);
    text += line % 5 == 0 ? "\r\n" : "\n";
  }
  return text;
}

TEST(Binarize, CountsSentencesTokensAndUnknownWords) {
  const TemporaryFolder folder;
  write_text(folder / "text", "a b\r\n\nc a\rb");  // three kinds of line end, none at the last line
  Dictionary dictionary;
  dictionary.add("a");
  dictionary.add("b");
  std::vector<int64_t> progress;
  const auto statistics = binarize({.source = folder / "text",
                                    .output_prefix = folder / "train",
                                    .dictionary = &dictionary,
                                    .progress = [&](int64_t done, int64_t all) {
                                      progress = {done, all};
                                    }});
  EXPECT_EQ(statistics.sentences, 4);
  EXPECT_EQ(statistics.tokens, 9);
  EXPECT_EQ(statistics.replaced, 1);
  EXPECT_EQ(progress, (Ids{11, 11}));
  const auto corpus = open_indexed(folder / "train");
  EXPECT_EQ(corpus->item(0), (Ids{4, 5, 2}));
  EXPECT_EQ(corpus->item(1), Ids{2});
  EXPECT_EQ(corpus->item(2), (Ids{3, 4, 2}));
  EXPECT_EQ(corpus->item(3), (Ids{5, 2}));
}

TEST(Preprocess, MakesTheSameFilesWithAnyNumberOfWorkersWithAndWithoutBpe) {
  const TemporaryFolder folder;
  write_text(folder / "text", long_text());
  learn_bpe(long_text(), 400).save(folder / "encoder.json", folder / "vocab.bpe");
  for (const bool with_bpe : {false, true}) {
    std::vector<std::string> made;
    for (const int workers : {1, 4}) {
      PreprocessOptions options;
      options.trainpref = (folder / "text").string() + "," + (folder / "text").string();
      options.destdir = folder / fmt::format("bin-{}-{}", with_bpe, workers);
      options.workers = workers;
      if (with_bpe) {
        options.gpt2_encoder_json = folder / "encoder.json";
        options.gpt2_vocab_bpe = folder / "vocab.bpe";
      }
      const auto result = preprocess(options);
      ASSERT_EQ(result.splits.size(), 2u);
      EXPECT_EQ(result.splits[1].name, "train1");
      EXPECT_EQ(result.splits[0].statistics.replaced, 0);
      made.push_back(read_text(std::filesystem::path(options.destdir) / "dict.txt") +
                     read_text(std::filesystem::path(options.destdir) / "train.idx") +
                     read_text(std::filesystem::path(options.destdir) / "train1.bin"));
    }
    EXPECT_TRUE(made[0] == made[1]);
  }
}

TEST(Preprocess, EncodingOnTheFlyWithWhitespaceKeptEqualsEncodingFirst) {
  const TemporaryFolder folder;
  const std::string text = "the cat\n\n  the cat sat \xFF\n";
  write_text(folder / "text", text);
  const auto bpe = learn_bpe(text, 262);
  bpe.save(folder / "encoder.json", folder / "vocab.bpe");
  std::istringstream in(text);
  std::ostringstream ids;
  bpe_encode(bpe, in, ids, 1);
  write_text(folder / "ids", ids.str());
  PreprocessOptions first;
  first.trainpref = (folder / "ids").string();
  first.destdir = folder / "first";
  preprocess(first);
  PreprocessOptions fly;
  fly.trainpref = (folder / "text").string();
  fly.destdir = folder / "fly";
  fly.gpt2_encoder_json = folder / "encoder.json";
  fly.gpt2_vocab_bpe = folder / "vocab.bpe";
  fly.keep_whitespace = true;
  preprocess(fly);
  for (const char* name : {"dict.txt", "train.bin", "train.idx"}) {
    EXPECT_EQ(read_text(folder / "first" / name), read_text(folder / "fly" / name)) << name;
  }
  EXPECT_EQ(read_text(folder / "fly/vocab.bpe"), read_text(folder / "vocab.bpe"));
}

TEST(Preprocess, ABpeGetsStrippedLinesAsInTheReferenceUnlessWhitespaceIsKept) {
  const TemporaryFolder folder;
  write_text(folder / "text", "  indented \n");
  learn_bpe("indented", 260).save(folder / "encoder.json", folder / "vocab.bpe");
  const auto bpe = ByteBpe::load(folder / "encoder.json", folder / "vocab.bpe");
  for (const bool keep : {false, true}) {
    PreprocessOptions options;
    options.trainpref = (folder / "text").string();
    options.destdir = folder / (keep ? "kept" : "stripped");
    options.gpt2_encoder_json = folder / "encoder.json";
    options.gpt2_vocab_bpe = folder / "vocab.bpe";
    options.keep_whitespace = keep;
    preprocess(options);
    const auto dictionary = Dictionary::load(std::filesystem::path(options.destdir) / "dict.txt");
    std::string text;
    for (const auto token :
         open_indexed(std::filesystem::path(options.destdir) / "train")->item(0)) {
      if (token != Dictionary::kEos) text += bpe.bytes(std::stoi(dictionary.symbol(token)));
    }
    EXPECT_EQ(text, keep ? "  indented " : "indented");
  }
}

TEST(Preprocess, TheBpeMayAlreadyLieInTheDestination) {
  const TemporaryFolder folder;
  write_text(folder / "text", "the cat\n");
  learn_bpe("the cat", 260).save(folder / "encoder.json", folder / "vocab.bpe");
  PreprocessOptions options;
  options.trainpref = (folder / "text").string();
  options.destdir = folder.path();
  options.gpt2_encoder_json = folder / "encoder.json";
  options.gpt2_vocab_bpe = folder / "vocab.bpe";
  preprocess(options);
  EXPECT_TRUE(std::filesystem::exists(folder / "train.idx"));
  ByteBpe::load(folder / "encoder.json", folder / "vocab.bpe");
}

TEST(Preprocess, TheBpeComesLastSoThatItSaysThatAllElseIsThere) {
  const TemporaryFolder folder;
  write_text(folder / "text", "the cat\n");
  learn_bpe("the cat", 260).save(folder / "encoder.json", folder / "vocab.bpe");
  PreprocessOptions options;
  options.trainpref = (folder / "text").string();
  options.destdir = folder / "bin";
  options.gpt2_encoder_json = folder / "encoder.json";
  options.gpt2_vocab_bpe = folder / "none.bpe";
  expect_error([&] { preprocess(options); }, {"none.bpe"});
  EXPECT_FALSE(std::filesystem::exists(folder / "bin/dict.txt")) << "refused before the work";
  options.gpt2_vocab_bpe = folder / "vocab.bpe";
  // Stops in the middle: the name of the split's file is taken by a folder.
  std::filesystem::create_directories(folder / "bin/train.bin/taken");
  EXPECT_THROW(preprocess(options), std::exception);
  EXPECT_TRUE(std::filesystem::exists(folder / "bin/dict.txt"));
  EXPECT_FALSE(std::filesystem::exists(folder / "bin/vocab.bpe"));
  std::filesystem::remove_all(folder / "bin");
  preprocess(options);
  EXPECT_EQ(read_text(folder / "bin/vocab.bpe"), read_text(folder / "vocab.bpe"));
  EXPECT_EQ(read_text(folder / "bin/encoder.json"), read_text(folder / "encoder.json"));
}

TEST(Preprocess, UsesAGivenDictionaryForOtherText) {
  const TemporaryFolder folder;
  write_text(folder / "text", "a b\n");
  write_text(folder / "given.txt", "a 5\n");
  PreprocessOptions options;
  options.validpref = (folder / "text").string();
  options.srcdict = folder / "given.txt";
  options.destdir = folder / "bin";
  EXPECT_EQ(preprocess(options).splits[0].statistics.replaced, 1);
  EXPECT_EQ(read_text(folder / "bin" / "dict.txt"), "a 5\n");
  EXPECT_TRUE(std::filesystem::exists(folder / "bin" / "valid.idx"));
}

TEST(Preprocess, RefusesImpossibleRequestsBeforeAnyWork) {
  const TemporaryFolder folder;
  write_text(folder / "text", "a b\n");
  write_text(folder / "empty", "");
  write_text(folder / "latin1", "a\ncaf\xE9\n");
  PreprocessOptions options;
  options.destdir = folder / "bin";
  expect_error([&] { preprocess(options); }, {"nothing to do"});
  options.validpref = (folder / "text").string();
  expect_error([&] { preprocess(options); }, {"--trainpref", "--srcdict"});
  options.trainpref = (folder / "none").string();
  expect_error([&] { preprocess(options); }, {"none", "cannot open"});
  options.trainpref = (folder / "empty").string();
  expect_error([&] { preprocess(options); }, {"empty"});
  EXPECT_FALSE(std::filesystem::exists(options.destdir));
  options.trainpref = (folder / "latin1").string();
  expect_error([&] { preprocess(options); }, {"latin1:2", "UTF-8"});
  options.trainpref = (folder / "text").string();
  options.gpt2_vocab_bpe = "x";
  expect_error([&] { preprocess(options); }, {"both files"});
  options.gpt2_vocab_bpe.reset();
  options.keep_whitespace = true;
  expect_error([&] { preprocess(options); }, {"--keep-whitespace", "--bpe gpt2"});
  options.keep_whitespace = false;
  options.destdir = folder / "text";
  expect_error([&] { preprocess(options); }, {"cannot write", "--destdir"});
  options.destdir = folder / "bin";
  preprocess(options);
  expect_error([&] { preprocess(options); }, {"dict.txt", "already there", "--srcdict"});
}

class PreprocessPairs : public ::testing::Test {
 protected:
  void SetUp() override {
    write_text(folder_ / "train.de", "ein hund\nzwei hunde\n");
    write_text(folder_ / "train.en", "a dog\ntwo dogs\n");
    write_text(folder_ / "test.de", "ein wolf\n");
    options_.source_lang = "de";
    options_.target_lang = "en";
    options_.trainpref = (folder_ / "train").string();
    options_.destdir = folder_ / "bin";
    options_.padding_factor = 1;
  }
  bool made(const std::string& name) { return std::filesystem::exists(folder_ / "bin" / name); }
  TemporaryFolder folder_;
  PreprocessOptions options_;
};

TEST_F(PreprocessPairs, EachLanguageHasItsDictionaryItsFilesAndItsLines) {
  *options_.trainpref += "," + *options_.trainpref;
  options_.nwordstgt = 6;
  const auto result = preprocess(options_);
  EXPECT_EQ(result.dictionary_size, 8);  // the specials, ein, hund, zwei, hunde
  EXPECT_EQ(result.target_dictionary_size, 6);
  for (const auto* name : {"train.de-en.de.idx", "train.de-en.en.bin", "train1.de-en.de.bin",
                           "train1.de-en.en.idx", "dict.de.txt", "dict.en.txt"}) {
    EXPECT_TRUE(made(name)) << name;
  }
  EXPECT_EQ(read_text(folder_ / "bin/preprocess.log"),
            fmt::format("[de] Dictionary: 8 types\n"
                        "[de] {0}/train.de: 2 sents, 6 tokens, 0.0% replaced by <unk>\n"
                        "[de] {0}/train.de: 2 sents, 6 tokens, 0.0% replaced by <unk>\n"
                        "[en] Dictionary: 6 types\n"
                        "[en] {0}/train.en: 2 sents, 6 tokens, 33.3% replaced by <unk>\n"
                        "[en] {0}/train.en: 2 sents, 6 tokens, 33.3% replaced by <unk>\n",
                        folder_.path().string()));
}

TEST_F(PreprocessPairs, AJoinedDictionaryHoldsBothLanguages) {
  options_.joined_dictionary = true;
  EXPECT_EQ(preprocess(options_).dictionary_size, 12);
  EXPECT_EQ(read_text(folder_ / "bin/dict.de.txt"), read_text(folder_ / "bin/dict.en.txt"));
  options_.destdir = folder_ / "second";
  options_.tgtdict = folder_ / "bin/dict.en.txt";
  EXPECT_EQ(preprocess(options_).dictionary_size, 12);
  EXPECT_EQ(read_text(folder_ / "second/dict.de.txt"), read_text(folder_ / "bin/dict.de.txt"));
}

TEST_F(PreprocessPairs, SourcesAloneAreMadeWithTheDictionaryGiven) {
  preprocess(options_);
  options_.srcdict = folder_ / "bin/dict.de.txt";
  options_.trainpref.reset();
  options_.testpref = (folder_ / "test").string();
  options_.only_source = true;
  preprocess(options_);
  EXPECT_TRUE(made("test.de-en.de.idx"));
  EXPECT_FALSE(made("test.de-en.en.idx"));
  EXPECT_EQ(open_indexed(folder_ / "bin/test.de-en.de")->item_size(0), 3);
}

TEST_F(PreprocessPairs, BothSidesGoThroughTheBpe) {
  learn_bpe(read_text(folder_ / "train.de") + read_text(folder_ / "train.en"), 258)
      .save(folder_ / "encoder.json", folder_ / "vocab.bpe");
  options_.gpt2_encoder_json = folder_ / "encoder.json";
  options_.gpt2_vocab_bpe = folder_ / "vocab.bpe";
  for (const auto& split : preprocess(options_).splits) EXPECT_EQ(split.statistics.replaced, 0);
  EXPECT_TRUE(made("vocab.bpe"));
}

TEST_F(PreprocessPairs, UnequalLineCountsAreRefusedBeforeAnyWorkWithBothCounts) {
  write_text(folder_ / "train.en", "a dog\n\ntwo dogs\n");
  expect_error([&] { preprocess(options_); }, {"train.de has 2 lines", "train.en has 3"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "bin"));
}

TEST_F(PreprocessPairs, ADictionaryThatIsThereIsNotOverwritten) {
  preprocess(options_);
  expect_error([&] { preprocess(options_); }, {"dict.de.txt", "--srcdict"});
  options_.srcdict = folder_ / "bin/dict.de.txt";
  expect_error([&] { preprocess(options_); }, {"dict.en.txt", "--tgtdict"});
  options_.tgtdict = folder_ / "bin/dict.en.txt";
  EXPECT_NO_THROW(preprocess(options_));
}

TEST_F(PreprocessPairs, WhatDoesNotGoTogetherIsRefused) {
  options_.target_lang.reset();
  expect_error([&] { preprocess(options_); }, {"--target-lang", "--only-source"});
  options_.target_lang = "de";
  expect_error([&] { preprocess(options_); }, {"both `de`"});
  options_.target_lang = "fr";
  expect_error([&] { preprocess(options_); }, {"train.fr"});
}

}  // namespace
}  // namespace evomoe
