// The same text in every format that preprocess takes makes the same data folder.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "evomoe/corpus/arrow_documents.h"
#include "evomoe/data/binarize.h"
#include "evomoe/data/indexed_dataset.h"
#include "tests/testing/compressed.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/learn_bpe.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Ids = std::vector<int64_t>;
using testing::gzipped;
using testing::read_text;
using testing::write_text;
using testing::zstd_compressed;

class PreprocessFormats : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 2000; ++i) {
      const auto line = i % 50 == 7 ? "" : fmt::format("wörter {} and {} \"w\" ", i % 31, i % 7);
      text_ += line + "\n";
      records_ += nlohmann::json({{"id", i}, {"text", line}}).dump() + "\n";
    }
    write_text(folder_ / "text.txt", text_);
    testing::learn_bpe(text_, 300).save(folder_ / "encoder.json", folder_ / "vocab.bpe");
  }
  PreprocessOptions options(const std::string& input, bool with_bpe) {
    PreprocessOptions options;
    options.trainpref = (folder_ / input).string();
    options.destdir = folder_ / fmt::format("bin-{}", made_++);
    options.workers = 2;
    if (with_bpe) {
      options.gpt2_encoder_json = folder_ / "encoder.json";
      options.gpt2_vocab_bpe = folder_ / "vocab.bpe";
    }
    return options;
  }
  static std::string files_of(const PreprocessOptions& options) {
    std::string all;
    for (const char* name : {"dict.txt", "train.idx", "train.bin"})
      all += read_text(std::filesystem::path(options.destdir) / name);
    return all;
  }
  std::string made(const PreprocessOptions& options) {
    preprocess(options);
    return files_of(options);
  }
  void expect_same(const std::string& input) {
    for (const bool with_bpe : {false, true}) {
      EXPECT_TRUE(made(options(input, with_bpe)) == made(options("text.txt", with_bpe)))
          << input << (with_bpe ? " with" : " without") << " a BPE";
    }
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  testing::TemporaryFolder folder_;
  std::string text_, records_;
  int made_ = 0;
};

TEST_F(PreprocessFormats, CompressedTextAndJsonLinesEqualText) {
  write_text(folder_ / "a.gz", gzipped(text_));
  write_text(folder_ / "a.txt.zst", zstd_compressed(text_));
  write_text(folder_ / "a.jsonl", records_);
  write_text(folder_ / "a.json.gz", gzipped(records_.substr(0, records_.find("\n") + 1)) +
                                        gzipped(records_.substr(records_.find("\n") + 1)));
  write_text(folder_ / "a.jsonl.zst", zstd_compressed(records_));
  for (const char* input : {"a.gz", "a.txt.zst", "a.jsonl", "a.json.gz", "a.jsonl.zst"})
    expect_same(input);
}

TEST_F(PreprocessFormats, ParquetAndArrowEqualText) {
  if (!has_arrow()) GTEST_SKIP() << "this build has no Arrow (scripts/setup.sh)";
  write_text(folder_ / "make.py", R"(
import sys, pyarrow as pa, pyarrow.parquet as pq, pyarrow.feather as feather
folder = sys.argv[1]
lines = open(folder + "/text.txt", encoding="utf-8").read().split("\n")[:-1]
table = pa.table({"n": range(len(lines)), "text": pa.array(lines)})
pq.write_table(table, folder + "/a.parquet", row_group_size=300)
feather.write_feather(table, folder + "/a.feather", chunksize=70)
)");
  const auto run = testing::run_command(
      fmt::format("{} {} {}", testing::python().string(), at("make.py"), folder_.path().string()));
  if (run.exit_code != 0) GTEST_SKIP() << "no pyarrow in " << testing::python() << ": " << run.err;
  expect_same("a.parquet");
  expect_same("a.feather");
}

TEST_F(PreprocessFormats, AFolderOrAPatternIsOneSplit) {
  std::filesystem::create_directories(folder_ / "in/deep");
  const auto half = text_.find('\n', text_.size() / 2) + 1;
  write_text(folder_ / "in/a.txt", text_.substr(0, half));
  write_text(folder_ / "in/deep/b.txt.gz", gzipped(text_.substr(half)));
  write_text(folder_ / "in/notes.md", "not to be read");
  expect_same("in");
  std::filesystem::rename(folder_ / "in/deep/b.txt.gz", folder_ / "in/b.txt.gz");
  expect_same("in/*.t*");
  auto two = options("in", false);
  *two.trainpref += "," + at("text.txt");
  const auto result = preprocess(two);
  ASSERT_EQ(result.splits.size(), 2u);
  EXPECT_EQ(result.splits[1].name, "train1");
  EXPECT_EQ(result.splits[0].source, at("in"));
  EXPECT_EQ(result.splits[0].statistics.tokens, result.splits[1].statistics.tokens);
}

TEST_F(PreprocessFormats, ADocumentOfSeveralLinesIsAnItemOrALineEach) {
  write_text(folder_ / "d.jsonl", "{\"text\": \"a b\\n\\nc \\n\"}\n{\"text\": \"d\"}\n");
  const auto whole = options("d.jsonl", false);
  preprocess(whole);
  const auto items = open_indexed(std::filesystem::path(whole.destdir) / "train");
  ASSERT_EQ(items->items(), 2);
  EXPECT_EQ(items->item_size(0), 4) << "a, b, c and the end";
  auto lines = options("d.jsonl", false);
  lines.document_lines = true;
  write_text(folder_ / "d.txt", "a b\nc \n\nd\n\n");
  EXPECT_TRUE(made(lines) == made(options("d.txt", false)));
  // With a BPE a line's end within the document is a token like any other, and the ends are
  // stripped.
  const auto encoded = options("d.jsonl", true);
  preprocess(encoded);
  const auto bpe = ByteBpe::load(at("encoder.json"), at("vocab.bpe"));
  const auto dictionary = Dictionary::load(std::filesystem::path(encoded.destdir) / "dict.txt");
  std::string text;
  const auto tokens = open_indexed(std::filesystem::path(encoded.destdir) / "train")->item(0);
  for (size_t i = 0; i + 1 < tokens.size(); ++i)
    text += bpe.bytes(std::stoi(dictionary.symbol(tokens[i])));
  EXPECT_EQ(text, "a b\n\nc");
}

TEST_F(PreprocessFormats, BadRowsStopOrAreLeftOutAndCounted) {
  write_text(folder_ / "bad.jsonl", "{\"text\": \"a\"}\n{\"text\": 1}\n\n{\"txt\": \"b\"}\n");
  const auto stop = options("bad.jsonl", true);
  expect_error([&] { preprocess(stop); }, {"bad.jsonl:2", "a number", "--on-bad-row skip"});
  auto skip = options("bad.jsonl", true);
  skip.on_bad_row = "skip";
  const auto result = preprocess(skip);
  EXPECT_EQ(result.splits[0].statistics.sentences, 1);
  EXPECT_EQ(result.bad_rows, 2);
  EXPECT_EQ(result.report.back(), "2 bad rows were left out");
  write_text(folder_ / "only.jsonl", "{\"txt\": \"b\"}\n");
  auto none = options("only.jsonl", true);
  none.on_bad_row = "skip";
  expect_error([&] { preprocess(none); }, {"only.jsonl", "no document"});
  none.srcdict = std::filesystem::path(skip.destdir) / "dict.txt";
  expect_error([&] { preprocess(none); }, {"only.jsonl", "no document"});
}

TEST_F(PreprocessFormats, ACutFileIsFoundBeforeAnythingIsWrittenForItsSplit) {
  const auto gzip = gzipped(text_);
  write_text(folder_ / "cut.txt.gz", gzip.substr(0, gzip.size() - 9));
  const auto cut = options("cut.txt.gz", false);
  expect_error([&] { preprocess(cut); }, {"cut.txt.gz", "cut off"});
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(cut.destdir) / "train.idx"));
}

TEST_F(PreprocessFormats, PairsOfLanguagesMayBeCompressed) {
  write_text(folder_ / "p.de.gz", gzipped("ein hund\nzwei hunde\n"));
  write_text(folder_ / "p.en", "a dog\ntwo dogs\n");
  auto pair = options("p", false);
  pair.source_lang = "de";
  pair.target_lang = "en";
  const auto result = preprocess(pair);
  EXPECT_EQ(result.splits[0].statistics.sentences, 2);
  write_text(folder_ / "p.de.gz", gzipped("ein hund\n"));
  pair.destdir = at("other");
  expect_error([&] { preprocess(pair); }, {"p.de.gz has 1 lines", "p.en has 2"});
}

TEST_F(PreprocessFormats, MegatronsFormatAndBackGivesTheSameData) {
  auto out = options("a.jsonl", true);
  write_text(folder_ / "a.jsonl", records_);
  out.output_format = "megatron";
  out.megatron_eod = 299;  // <|endoftext|> of the BPE
  preprocess(out);
  const auto prefix = std::filesystem::path(out.destdir) / "train";
  expect_error([&] { open_indexed(prefix); }, {"train.idx", "Megatron", "evomoe preprocess"});
  // The numbers are those of the BPE.
  const auto bpe = ByteBpe::load(at("encoder.json"), at("vocab.bpe"));
  const auto bin = read_text(prefix.string() + ".bin");
  std::string text;
  for (size_t i = 0; i < 60; i += 2) {
    const auto id = static_cast<uint8_t>(bin[i]) + 256 * static_cast<uint8_t>(bin[i + 1]);
    text += id == 299 ? "\n" : bpe.bytes(id);
  }
  EXPECT_TRUE(text_.starts_with(text.substr(0, text.find('\n')))) << text;

  auto back = options("", true);
  back.trainpref = prefix.string() + ".idx";
  back.megatron_eod = 299;
  back.srcdict = std::filesystem::path(out.destdir) / "dict.txt";
  const auto result = preprocess(back);
  EXPECT_EQ(result.splits[0].statistics.replaced, 0);
  // Empty items, which are no documents, are not in it.
  std::string documents;
  for (size_t begin = 0, end = 0; (end = text_.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    if (end > begin) documents += text_.substr(begin, end - begin + 1);
  }
  write_text(folder_ / "documents.txt", documents);
  auto direct = options("documents.txt", true);
  direct.srcdict = back.srcdict;
  EXPECT_TRUE(made(direct) == files_of(back));
  // Without a dictionary one is made of the numbers, and a token that it lacks is counted.
  auto counted = options("", false);
  counted.trainpref = back.trainpref;
  counted.nwordssrc = 20;
  EXPECT_GT(preprocess(counted).splits[0].statistics.replaced, 0);
}

TEST_F(PreprocessFormats, WhatMegatronCannotHoldIsRefused) {
  write_text(folder_ / "words.txt", "no number\n");
  auto words = options("words.txt", false);
  words.output_format = "megatron";
  expect_error([&] { preprocess(words); }, {"--output-format megatron", "are words", "--bpe"});
  auto few = options("text.txt", true);
  few.output_format = "megatron";
  few.nwordssrc = 20;
  expect_error([&] { preprocess(few); }, {"<unk>", "--nwordssrc"});
}

TEST_F(PreprocessFormats, ExamplesMayBeCompressedAndBadOnesLeftOut) {
  const std::string good = "{\"prompt\": \"a\", \"answer\": \"b\"}\n";
  write_text(folder_ / "e.jsonl.gz", gzipped(good + "{\"prompt\": \"a\"}\n" + good));
  auto examples = options("e.jsonl.gz", false);
  examples.examples = "jsonl";
  expect_error([&] { preprocess_examples(examples); },
               {"e.jsonl.gz:2", "no answer", "--on-bad-row skip"});
  examples.on_bad_row = "skip";
  const auto result = preprocess_examples(examples);
  EXPECT_EQ(result.splits[0].statistics.sentences, 2);
  EXPECT_EQ(result.bad_rows, 1);
  for (const std::string text : {"", "\n \n", "{\"prompt\": \"a\"}\n"}) {
    write_text(folder_ / "none.jsonl", text);
    auto none = options("none.jsonl", false);
    none.examples = "jsonl";
    none.on_bad_row = "skip";
    expect_error([&] { preprocess_examples(none); }, {"none.jsonl", "no example"});
  }
  write_text(folder_ / "e.parquet", "PAR1");
  auto other = options("e.parquet", false);
  other.examples = "jsonl";
  expect_error([&] { preprocess_examples(other); }, {"e.parquet", "JSON lines"});
}

}  // namespace
}  // namespace evomoe
