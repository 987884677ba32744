#include "evomoe/corpus/corpus.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "evomoe/corpus/train_bpe.h"
#include "tests/testing/compressed.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/learn_bpe.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Items = std::vector<std::string>;

class Corpora : public ::testing::Test {
 protected:
  Corpus corpus(const std::vector<std::pair<std::string, std::string>>& files,
                bool document_lines = false, BadRows* bad_rows = nullptr) {
    std::vector<std::filesystem::path> paths;
    for (const auto& [name, text] : files) {
      testing::write_text(folder_ / name, text);
      paths.push_back(folder_ / name);
    }
    return {paths, {}, document_lines, bad_rows};
  }
  static Items items(const Corpus& corpus, int threads = 1, bool utf8_lines = true) {
    Items all;
    const auto collect = [](DocumentKind, const EachItem& each_item) {
      Items items;
      each_item([&](std::string_view item) { items.emplace_back(item); });
      return items;
    };
    corpus.read<Items>({.threads = threads, .utf8_lines = utf8_lines}, collect,
                       [&](Items& part) { all.insert(all.end(), part.begin(), part.end()); });
    return all;
  }
  /// What is said of a line of a JSON file behind a sound one.
  void expect_bad(const std::string& line, std::initializer_list<std::string> words) {
    SCOPED_TRACE(line);
    const auto bad = corpus({{"x.jsonl", "{\"text\": \"a\"}\n" + line + "\n{\"text\": \"b\"}\n"}});
    expect_error([&] { items(bad); }, {"x.jsonl:2: "});
    expect_error([&] { items(bad); }, words);
    BadRows skipped(/*skip=*/true);
    EXPECT_EQ(items(Corpus(bad.files(), {}, false, &skipped)), (Items{"a", "b"}));
    EXPECT_EQ(skipped.count(), 1);
  }
  testing::TemporaryFolder folder_;
};

TEST_F(Corpora, FilesOfAllKindsAreOneText) {
  const auto all = corpus({{"a.txt", "one\n\ntwo"},
                           {"b.jsonl", "{\"id\": 3, \"text\": \"three\\nlines\"}\r\n \n"},
                           {"c.jsonl.zst", testing::zstd_compressed("{\"text\": \"\"}")},
                           {"d.gz", testing::gzipped("four\r\nfive\n")}});
  all.check();
  for (const int threads : {1, 3})
    EXPECT_EQ(items(all, threads), (Items{"one", "", "two", "three\nlines", "", "four", "five"}));
}

TEST_F(Corpora, DocumentsMayBecomeLinesWithAnEmptyOneBehindThem) {
  const auto all = corpus({{"a.txt", "one\n\ntwo\n"},
                           {"b.jsonl", "{\"text\": \"a\\n\\n \\r\\nb\\n\"}\n{\"text\": \"c\"}\n"}},
                          /*document_lines=*/true);
  EXPECT_EQ(items(all), (Items{"one", "", "two", "a", "b", "", "c", ""}));
}

TEST_F(Corpora, OnlyTheTextOfTheOneKeyIsTaken) {
  const auto text =
      corpus({{"x.json", R"({"meta": {"text": "no", "a": [1, {"text": "no"}]}, "text":)"
                         "\"\\u00e9\\ud83d\\ude00 \\\"\", \"other\": null}\n"}});
  EXPECT_EQ(items(text), (Items{"é😀 \""}));
  const auto column = corpus({{"x.json", "{\"text\": 1, \"body\": \"b\"}\n"}});
  EXPECT_EQ(items(Corpus(column.files(), {.text_column = "body"})), (Items{"b"}));
}

TEST_F(Corpora, BadRowsAreNamedWithTheirReason) {
  expect_bad("no", {"no JSON", R"({"text": "..."})"});
  expect_bad("{\"text\": \"a\"} x", {"no JSON"});
  expect_bad("{\"text\": \"a\"", {"no JSON"});
  expect_bad("[{\"text\": \"a\"}]", {"a JSON list", "jq"});
  expect_bad("[", {"a JSON list", "jq"});
  expect_bad("\"text\"", {"a string", "must be one object"});
  expect_bad("{}", {"no \"text\", but no key", "--text-column"});
  expect_bad("{\"b\": 1, \"a\": {\"text\": \"c\"}}", {"\"a\", \"b\"", "--text-column"});
  expect_bad("{\"text\": null}", {"\"text\" is null"});
  expect_bad("{\"text\": [\"a\"]}", {"\"text\" is an array", "a string"});
  expect_bad("{\"text\": {\"text\": \"a\"}}", {"\"text\" is an object"});
  expect_bad("{\"text\": 3.5}", {"\"text\" is a number"});
  expect_bad("{\"text\": \"a\", \"text\": \"b\"}", {"comes twice"});
  // The parser is what finds a line that is not UTF-8, so anywhere in the line.
  for (const char* line :
       {"{\"text\": \"\xff\"}", "{\"text\": \"a\", \"\xff\": 1}", "\xff", "{\"text\": \"a\"} \xff",
        "[\"\xff\"]", "[1], \"\xff\"", "{\"n\": \"\xff\"}", "{\"text\": \"\xed\xa0\x80\"}",
        "{\"text\": \"\xc0\xaf\"}"})
    expect_bad(line, {"not UTF-8", "iconv"});
  expect_bad("{\"text\": \"\\ud800\"}", {"no JSON (at byte 17: ", "surrogate"});
  expect_bad("{\"text\": tru}", {"no JSON (at byte 13: ", "invalid literal"});
  expect_bad("{\"text\": 1e999}", {"no JSON (at byte 14: number overflow"});
  using std::string_literals::operator""s;
  expect_bad("{\"text\": \"a\"}\0\0"s, {"no JSON", "at byte 14: a NUL byte"});
  expect_bad("{\"text\": \"a\"}\0{\"text\": \"b\"}"s, {"a NUL byte"});
  expect_bad("{\"text\": \"a\", \"b\": " + std::string(200, '[') + std::string(200, ']') + "} x",
             {"no JSON"});
  std::string keys;
  for (int i = 0; i < 1000; ++i) keys += fmt::format("{}\"k{}\": 1", i == 0 ? "" : ", ", i);
  expect_bad("{" + keys + "}", {"\"k0\"", "(1000 in all)"});
  expect_error(
      [&] {
        items(corpus({{"x.jsonl", "{\"text\": \"a\"}\n{\"te"}}));
      },
      {"x.jsonl:2", "cut off"});
  // A last line without an end is not cut off for that.
  const auto expect_last_bad = [&](const std::string& line, const std::string& reason) {
    expect_error(
        [&] {
          items(corpus({{"x.jsonl", "{\"text\": \"a\"}\n" + line}}));
        },
        {"x.jsonl:2", "no JSON (" + reason});
  };
  expect_last_bad("{\"text\": \"a\"}\0"s, "at byte 14: a NUL byte");
  expect_last_bad("{\"text\": 1e999}", "at byte 14: number overflow");
  expect_last_bad("{\"text\": \"\\ud800\"}", "at byte 17: ");
  expect_last_bad("{\"text\": tru}", "at byte 13: invalid literal");
  expect_last_bad("{\"text\": " + std::string(200, '[') + std::string(200, ']') + "}",
                  "more than 100 levels");
  expect_error([&] { items(corpus({{"x", "a\n\xff\n"}})); }, {"x:2", "not UTF-8"});
  EXPECT_EQ(items(corpus({{"x", "a\n\xff\n"}}), 1, /*utf8_lines=*/false), (Items{"a", "\xff"}));
}

TEST_F(Corpora, WhatIsNoTextByItsFirstBytesIsRefusedWhateverItsName) {
  const auto gzip = testing::gzipped("a\n");
  const auto zstd = testing::zstd_compressed("a\n");
  for (const std::string ending : {"", ".txt", ".jsonl"}) {
    const auto name = "x" + ending;
    expect_error(
        [&] {
          corpus({{name, gzip}}).check();
        },
        {name + ": it holds gzip", "add .gz to its name"});
    expect_error(
        [&] {
          corpus({{name, zstd}}).check();
        },
        {name + ": ", "Zstandard", "add .zst to its name"});
    expect_error(
        [&] {
          corpus({{name + ".gz", testing::gzipped(gzip)}}).check();
        },
        {name + ".gz: ", "unpacked, it holds gzip"});
    expect_error(
        [&] {
          corpus({{name + ".zst", testing::zstd_compressed(gzip)}}).check();
        },
        {name + ".zst: ", "gzip"});
    const auto expect_remedy = [&](const std::string& beginning, const std::string& format,
                                   const std::string& remedy) {
      expect_error(
          [&] {
            corpus({{name, beginning}}).check();
          },
          {name + ": it holds " + format + " data", "; " + remedy});
      expect_error(
          [&] {
            corpus({{name + ".gz", testing::gzipped(beginning)}}).check();
          },
          {name + ".gz: unpacked, it holds " + format + " data",
           "; unpack it, and for what comes out: " + remedy});
    };
    expect_remedy("PAR1\x15\x04", "Parquet", "add .parquet to its name");
    expect_remedy(std::string("ARROW1\0\0", 8), "Arrow", "add .arrow to its name");
    expect_remedy("\xfd\x37\x7a\x58\x5a", "xz", "unpack it with `xz -dc`");
    expect_remedy("PK\x03\x04", "zip", "unpack it with `unzip`");
  }
  EXPECT_EQ(items(corpus({{"x", "PAR1 is a text\nPK too\n"}})),
            (Items{"PAR1 is a text", "PK too"}));
}

TEST_F(Corpora, NumbersOfRowsGoOnOverPiecesAndBeginAnewInEachFile) {
  std::string text;
  int64_t rows = 0;
  while (text.size() < 5u << 20) {
    text += fmt::format("{{\"text\": \"row {} of a file of several pieces\"}}\n", ++rows);
    if (rows % 10'000 == 0) text += fmt::format("bad {}\n", ++rows);
  }
  for (const int threads : {1, 4}) {
    const auto good = fmt::format("{{\"text\": \"b\"}}\n");
    const auto stopped = corpus({{"a.jsonl", good}, {"b.jsonl", text}});
    expect_error([&] { items(stopped, threads); }, {"b.jsonl:10001"});
    BadRows bad_rows(/*skip=*/true);
    const auto all = corpus({{"a.jsonl", text}, {"b.jsonl", good + "bad\n"}}, false, &bad_rows);
    const auto read = static_cast<int64_t>(items(all, threads).size());
    EXPECT_EQ(read, rows - rows / 10'001 + 1);
    EXPECT_EQ(bad_rows.count(), rows / 10'001 + 1);
    items(all, threads);
    EXPECT_EQ(bad_rows.count(), rows / 10'001 + 1) << "counted once, however often they are read";
  }
}

TEST_F(Corpora, WhatCannotBeReadIsAnErrorBeforeTheWork) {
  expect_error([&] { corpus({{"x", ""}}).check(); }, {"x: it is empty"});
  EXPECT_NO_THROW(corpus({{"x", ""}, {"y", "a"}}).check());
  expect_error([&] { corpus({{"x", "a"}, {"y.gz", "a"}}).check(); }, {"y.gz"});
  expect_error([&] { Corpus(folder_ / "none").check(); }, {"none", "cannot open"});
  expect_error([&] { corpus({{"x.parquet", "PAR1 and no more"}}).check(); }, {"x.parquet"});
}

TEST_F(Corpora, ABpeIsLearntFromDocumentsAsFromTheirLines) {
  std::string lines;
  std::string records;
  for (int i = 0; i < 3000; ++i) {
    const auto line = fmt::format(" word{} and word{} ", i % 17, i % 5);
    lines += line + "\n";
    records += fmt::format("{{\"text\": \"{}\"}}\n", line);
  }
  const auto text = corpus({{"x.txt", lines}});
  const auto json = corpus({{"x.jsonl.gz", testing::gzipped(records)}});
  const auto expected = testing::learn_bpe(lines, 300);
  for (const auto& made : {train_bpe(text, 300, 1, false), train_bpe(json, 300, 1, false)}) {
    ASSERT_EQ(made.size(), expected.size());
    for (int32_t id = 0; id < made.size(); ++id) EXPECT_EQ(made.bytes(id), expected.bytes(id));
  }
  expect_error([&] { train_bpe(corpus({{"x.jsonl", "\n"}}), 300, 1, false); }, {"no text in it"});
  expect_error([&] { train_bpe(folder_ / "none", 300, 1, false); }, {"none", "cannot open"});
}

TEST_F(Corpora, ABpeIsTheSameWithAnyNumberOfThreads) {
  std::string lines;
  for (int i = 0; lines.size() < 5u << 20; ++i)  // several pieces
    lines += fmt::format("word{} and word{} \n", i % 317, i % 23);
  const auto text = corpus({{"x.txt", lines}});
  const auto one = train_bpe(text, 500, 1, false), four = train_bpe(text, 500, 4, false);
  ASSERT_EQ(one.size(), four.size());
  for (int32_t id = 0; id < one.size(); ++id) EXPECT_EQ(one.bytes(id), four.bytes(id));
}

TEST_F(Corpora, ABpeHasIndentationOnlyWhereWhitespaceIsKept) {
  const auto text = corpus({{"x.txt", "a\n        b\n        c\n        d\n"}});
  EXPECT_EQ(train_bpe(text, 300, 1, false).encode("        b").size(), 9U);
  EXPECT_LT(train_bpe(text, 300, 1, /*keep_whitespace=*/true).encode("        b").size(), 5U);
}

}  // namespace
}  // namespace evomoe
