#include "evomoe/text/byte_bpe.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unicode/regex.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <tuple>

#include "evomoe/text/bpe_words.h"
#include "evomoe/text/text_lines.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/learn_bpe.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using testing::learn_bpe;
using testing::TemporaryFolder;
using testing::write_text;

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  BpeWords cutter(text);
  for (std::string_view word; cutter.next(word);) words.emplace_back(word);
  return words;
}

/// The same by GPT-2's regular expression; what is not UTF-8 is a word of its own.
std::vector<std::string> words_by_expression(std::string_view text) {
  static const auto pattern = [] {
    UErrorCode status = U_ZERO_ERROR;
    return std::unique_ptr<icu::RegexPattern>(icu::RegexPattern::compile(
        icu::UnicodeString::fromUTF8(
            R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+)"
            R"(|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+)"),
        0, status));
  }();
  std::vector<std::string> words;
  while (!text.empty()) {
    uint32_t code = 0;
    const bool valid = utf8_character(text, 0, code) > 0;
    size_t end = 0;
    while (end < text.size() && (utf8_character(text, end, code) > 0) == valid)
      end += std::max(1, utf8_character(text, end, code));
    const auto stretch = text.substr(0, end);
    text.remove_prefix(end);
    if (!valid) {
      words.emplace_back(stretch);
      continue;
    }
    UErrorCode status = U_ZERO_ERROR;
    const auto unicode = icu::UnicodeString::fromUTF8(stretch);
    const std::unique_ptr<icu::RegexMatcher> matcher(pattern->matcher(unicode, status));
    while (matcher->find(status) != 0) matcher->group(status).toUTF8String(words.emplace_back());
  }
  return words;
}

/// Random text of letters, digits, signs, white space, apostrophes and characters of many scripts;
/// with `invalid` bytes too.
std::string random_text(std::mt19937& random, bool invalid) {
  static const std::vector<std::string> pieces = {"a",
                                                  "B",
                                                  "z",
                                                  "0",
                                                  "9",
                                                  " ",
                                                  " ",
                                                  "  ",
                                                  "\t",
                                                  "\r",
                                                  "\n",
                                                  "'",
                                                  "'s",
                                                  "'ll",
                                                  "'re",
                                                  "'v",
                                                  "!",
                                                  "-",
                                                  "_",
                                                  "\x1f",
                                                  "\x7f",
                                                  "é",
                                                  "ß",
                                                  "中",
                                                  "あ",
                                                  "😀",
                                                  "\xC2\xA0",
                                                  "\xE3\x80\x80",
                                                  "\xE1\xA0\x8E",
                                                  "½",
                                                  "٣",
                                                  "\xCC\x81",
                                                  "\xC2\x85",
                                                  "Ⅷ",
                                                  "the"};
  static const std::vector<std::string> bytes = {"\xFF", "\xC3", "\xE4\xB8", "\xED\xA0\x80",
                                                 std::string(1, '\0')};
  std::string text;
  const auto count = random() % 40;
  for (size_t i = 0; i < count; ++i) {
    const bool bad = invalid && random() % 6 == 0;
    text += bad ? bytes[random() % bytes.size()] : pieces[random() % pieces.size()];
  }
  return text;
}

/// A few thousand words of syllables, some frequent and some rare, so that hundreds of joins are
/// worth learning.
std::string syllables() {
  std::mt19937 random(19);
  const auto skewed = [&](double n) {
    const double u = static_cast<double>(random()) / 4294967296.0;
    return static_cast<size_t>(n * u * u);
  };
  std::string text = "the cat's hat.\n  the   end\n\nna\xC3\xAFve caf\xC3\xA9 2024\n";
  for (int i = 0; i < 4000; ++i) {
    for (size_t k = 0; k < 1 + skewed(5); ++k) {
      text += "tsrnlhdm"[skewed(8)];
      text += "eaoiuy"[skewed(6)];
    }
    text += i % 9 == 8 ? '\n' : ' ';
  }
  return text + "\n";
}

const std::string kText = syllables();

ByteBpe small_bpe(int64_t size = 300) { return learn_bpe(kText, size); }

/// The tokens of `text` in GPT-2's printable spelling.
std::vector<std::string> spelled_tokens(const ByteBpe& bpe, std::string_view text) {
  std::vector<std::string> tokens;
  for (const auto id : bpe.encode(text)) tokens.push_back(bpe.spelling(id));
  return tokens;
}

TEST(BpeWords, CutsAsGpt2) {
  EXPECT_EQ(words_of("I'll say  it's 42 times!!  "),
            (std::vector<std::string>{"I", "'ll", " say", " ", " it", "'s", " 42", " times", "!!",
                                      "  "}));
  EXPECT_EQ(words_of("a\n\nb"), (std::vector<std::string>{"a", "\n", "\n", "b"}));
}

TEST(BpeWords, AreThoseOfTheRegularExpression) {
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    const auto text = random_text(random, i % 2 == 1);
    ASSERT_EQ(words_of(text), words_by_expression(text)) << text;
  }
}

TEST(BpeWords, KnowEachCharacterOfThisUnicode) {
  // Behind each other, behind a space, and between letters and digits.
  for (uint32_t code = 0x80; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string character;
    icu::UnicodeString(static_cast<UChar32>(code)).toUTF8String(character);
    const auto text = character + character + " " + character + "a" + character + "1" + character;
    ASSERT_EQ(words_of(text), words_by_expression(text)) << fmt::format("U+{:04X}", code);
  }
}

TEST(ByteBpe, DecodesAnyBytesToThemselves) {
  const auto bpe = small_bpe();
  std::mt19937 random(11);
  for (int i = 0; i < 3000; ++i) {
    const auto text = random_text(random, true);
    ASSERT_EQ(bpe.decode(bpe.encode(text)), text);
  }
  std::string all;
  for (int i = 0; i < 1000; ++i) all += static_cast<char>(random());
  EXPECT_EQ(bpe.decode(bpe.encode(all)), all);
}

TEST(ByteBpe, MergesALongWordAsAShortOne) {
  // Without spaces the text is one word, which takes the heap; its definition is GPT-2's loop.
  const TemporaryFolder folder;
  const auto bpe = small_bpe(330);
  std::mt19937 random(3);
  std::map<std::pair<std::string, std::string>, int> ranks;
  bpe.save(folder / "encoder.json", folder / "vocab.bpe");
  int number = 0;
  for_each_line(testing::read_text(folder / "vocab.bpe"), [&](std::string_view line) {
    const size_t space = line.find(' ');
    if (number++ > 0)
      ranks[{std::string(line.substr(0, space)), std::string(line.substr(space + 1))}] = number;
  });
  for (int i = 0; i < 200; ++i) {
    std::vector<std::string> symbols;
    const size_t length = 60 + random() % 100;  // around the limit between the two ways
    for (size_t k = 0; k < length; ++k) symbols.emplace_back(1, "tesranao"[random() % 8]);
    std::string word;
    for (const auto& symbol : symbols) word += symbol;
    while (true) {
      std::pair<std::string, std::string> best;
      for (size_t k = 0; k + 1 < symbols.size(); ++k) {
        const std::pair pair{symbols[k], symbols[k + 1]};
        if (ranks.contains(pair) && (!ranks.contains(best) || ranks[pair] < ranks[best]))
          best = pair;
      }
      if (!ranks.contains(best)) break;
      std::vector<std::string> merged;
      for (size_t k = 0; k < symbols.size(); ++k) {
        const bool match =
            k + 1 < symbols.size() && symbols[k] == best.first && symbols[k + 1] == best.second;
        merged.push_back(match ? best.first + best.second : symbols[k]);
        if (match) ++k;
      }
      symbols = merged;
    }
    ASSERT_EQ(spelled_tokens(bpe, word), symbols) << word;
  }
}

/// Algorithm 1 of Sennrich et al., counting every pair anew for each join. `tokens` begins with the
/// 256 bytes in the order of their ids and grows to `size`.
void learn_naively(const std::string& text, size_t size, std::vector<std::string>& tokens) {
  std::map<std::vector<int>, int64_t> words;
  std::map<std::string, int> id_of;
  for (size_t id = 0; id < tokens.size(); ++id) id_of[tokens[id]] = static_cast<int>(id);
  for_each_line(text, [&](std::string_view line) {
    for (const auto& word : words_of(strip(line))) {
      std::vector<int> symbols;
      for (const char byte : word) symbols.push_back(id_of[std::string(1, byte)]);
      ++words[symbols];
    }
  });
  while (tokens.size() < size) {
    std::map<std::pair<int, int>, int64_t> pairs;
    for (const auto& [symbols, number] : words) {
      for (size_t i = 0; i + 1 < symbols.size(); ++i) pairs[{symbols[i], symbols[i + 1]}] += number;
    }
    std::pair<int, int> best;
    int64_t most = 1;
    for (const auto& [pair, number] :
         pairs) {  // in the order of ids, so ties go to the smaller ones
      if (number > most) std::tie(best, most) = std::pair(pair, number);
    }
    ASSERT_GT(most, 1);
    const auto token = tokens[best.first] + tokens[best.second];
    if (!id_of.contains(token)) {
      id_of[token] = static_cast<int>(tokens.size());
      tokens.push_back(token);
    }
    std::map<std::vector<int>, int64_t> changed;
    for (const auto& [symbols, number] : words) {
      std::vector<int> joined;
      for (size_t i = 0; i < symbols.size(); ++i) {
        const bool match = i + 1 < symbols.size() && std::pair(symbols[i], symbols[i + 1]) == best;
        joined.push_back(match ? id_of[token] : symbols[i]);
        if (match) ++i;
      }
      changed[joined] += number;
    }
    words = changed;
  }
}

TEST(ByteBpe, LearnsTheMostFrequentPairsOneAfterTheOther) {
  const auto bpe = small_bpe(500);
  ASSERT_EQ(bpe.size(), 500);
  std::vector<std::string> tokens;
  for (int32_t id = 0; id < 256; ++id) tokens.push_back(bpe.bytes(id));
  learn_naively(kText, 499, tokens);
  for (int32_t id = 256; id < 499; ++id) EXPECT_EQ(bpe.bytes(id), tokens[id]) << id;
  EXPECT_EQ(bpe.bytes(499), "<|endoftext|>");
}

TEST(ByteBpe, StopsWhenNoPairOccursTwice) {
  const auto bpe = small_bpe(100000);
  EXPECT_GT(bpe.size(), 500);
  EXPECT_LT(bpe.size(), 10000);
}

TEST(ByteBpe, ComesBackFromItsFiles) {
  const TemporaryFolder folder;
  const auto bpe = small_bpe();
  bpe.save(folder / "encoder.json", folder / "vocab.bpe");
  const auto loaded = ByteBpe::load(folder / "encoder.json", folder / "vocab.bpe");
  EXPECT_EQ(loaded.encode(kText), bpe.encode(kText));
  loaded.save(folder / "encoder2.json", folder / "vocab2.bpe");
  EXPECT_EQ(testing::read_text(folder / "encoder.json"),
            testing::read_text(folder / "encoder2.json"));
  EXPECT_EQ(testing::read_text(folder / "vocab.bpe"), testing::read_text(folder / "vocab2.bpe"));
}

TEST(ByteBpe, OfAnyBytesComesBackFromItsFiles) {
  const TemporaryFolder folder;
  std::string bytes;
  for (int i = 0; i < 4096; ++i)
    bytes += fmt::format("{0}{1}{0}{1}", static_cast<char>(i), static_cast<char>(i / 16));
  BpeWordCounts counts;
  count_bpe_words(bytes + "#version: 0.2 #version\n", counts);
  const auto bpe = ByteBpe::train(counts, 700);
  bpe.save(folder / "encoder.json", folder / "vocab.bpe");
  const auto loaded = ByteBpe::load(folder / "encoder.json", folder / "vocab.bpe");
  ASSERT_EQ(loaded.size(), bpe.size());
  for (int32_t id = 0; id < bpe.size(); ++id) EXPECT_EQ(loaded.bytes(id), bpe.bytes(id));
  EXPECT_EQ(loaded.encode(bytes), bpe.encode(bytes));
}

TEST(ByteBpe, NamesWhatIsWrongWithItsFiles) {
  const TemporaryFolder folder;
  const auto encoder = folder / "encoder.json";
  const auto merges = folder / "vocab.bpe";
  expect_error([&] { ByteBpe::load(encoder, merges); }, {encoder.string(), "cannot open"});
  small_bpe().save(encoder, merges);
  const auto good = testing::read_text(encoder);
  write_text(merges, "#version: 0.2\nq q\n");
  expect_error([&] { ByteBpe::load(encoder, merges); },
               {merges.string() + ":2", "do not belong together"});
  write_text(merges, "#version: 0.2\nq\n");
  expect_error([&] { ByteBpe::load(encoder, merges); }, {merges.string() + ":2", "two tokens"});
  write_text(encoder, good.substr(0, good.size() / 2));
  expect_error([&] { ByteBpe::load(encoder, merges); }, {encoder.string(), "not a JSON object"});
  write_text(encoder, "{\"a\": " + std::string(100'000, '[') + std::string(100'000, ']') + "}");
  expect_error([&] { ByteBpe::load(encoder, merges); }, {encoder.string(), "not a JSON object"});
  write_text(encoder, R"({"a": 0, "b": 2})");
  expect_error([&] { ByteBpe::load(encoder, merges); }, {"`b`", "0 .. 1"});
  write_text(encoder, "{}");
  expect_error([&] { ByteBpe::load(encoder, merges); }, {encoder.string(), "no token in it"});
  expect_error([&] { learn_bpe("a", 10); }, {"10", "257"});
}

std::string encoded(const ByteBpe& bpe, const std::string& text, int threads = 1) {
  std::istringstream in(text);
  std::ostringstream out;
  bpe_encode(bpe, in, out, threads);
  return out.str();
}

std::string decoded(const ByteBpe& bpe, const std::string& ids) {
  std::istringstream in(ids);
  std::ostringstream out;
  bpe_decode(bpe, in, out, "ids");
  return out.str();
}

/// Only several threads must not flush what is tied to the stream that they read.
TEST(ByteBpe, EncodingLeavesTheInputTiedAsItWas) {
  struct Flushes : std::stringbuf {
    int sync() override { return ++count, 0; }
    int count = 0;
  };
  const auto bpe = small_bpe();
  for (const int threads : {1, 4}) {
    Flushes flushes;
    std::ostream other(&flushes);
    std::istringstream in("a b\n");
    in.tie(&other);
    std::ostringstream out;
    bpe_encode(bpe, in, out, threads);
    EXPECT_EQ(in.tie(), &other) << threads;
    EXPECT_EQ(flushes.count > 0, threads == 1);
    in.clear();
    in.str("c\n");
    out.setstate(std::ios::badbit);
    expect_error([&] { bpe_encode(bpe, in, out, threads); }, {"cannot be written"});
    EXPECT_EQ(in.tie(), &other) << threads << " threads, after an error";
  }
}

TEST(ByteBpe, EncodingAndDecodingATextGivesBackItsBytes) {
  const auto bpe = small_bpe();
  std::string bytes;
  for (int i = 0; i < 70000; ++i) bytes += static_cast<char>((i * 7919 + i / 256) % 256);
  for (const std::string& text :
       {std::string(), std::string("\n"), std::string("\n\n"), std::string("no end"),
        std::string("  blanks at both ends \t\n\n \n"), std::string("two\r\nends\rof lines\n\r"),
        std::string("\xC2\xA0\xFF\xE2\x80\x83 \0 x", 10), kText, bytes}) {
    EXPECT_TRUE(decoded(bpe, encoded(bpe, text)) == text) << text.substr(0, 100);
  }
}

TEST(ByteBpe, ALongTextIsEncodedTheSameWithAnyNumberOfThreads) {
  const auto bpe = small_bpe();
  std::string text(9 << 20, 'a');  // a line that is longer than a block
  for (int line = 0; text.size() < (11u << 20); ++line) text += fmt::format("\nline {}", line);
  const auto ids = encoded(bpe, text);
  EXPECT_TRUE(encoded(bpe, text, 3) == ids);
  EXPECT_TRUE(decoded(bpe, ids) == text);
}

TEST(ByteBpe, NamesTheLineOfAnIdThatIsNone) {
  const auto bpe = small_bpe();
  expect_error([&] { decoded(bpe, "1 2\n3 99999\n"); }, {"ids:2", "99999"});
  expect_error([&] { decoded(bpe, "1\n\nx"); }, {"ids:3", "`x`"});
  expect_error([&] { bpe.decode({-1}); }, {"token -1"});
}

TEST(ByteBpe, EncodesAsGpt2) {
  const auto files = testing::data_dir() / "gpt2_bpe";
  if (!std::filesystem::exists(files)) GTEST_SKIP() << files << " is not here (EVOMOE_DATA)";
  const auto bpe = ByteBpe::load(files / "encoder.json", files / "vocab.bpe");
  EXPECT_EQ(bpe.size(), 50257);
  EXPECT_EQ(bpe.encode("Hello world"), (std::vector<int32_t>{15496, 995}));
  EXPECT_EQ(spelled_tokens(bpe, "it's  naïve"),
            (std::vector<std::string>{"it", "'s", "Ġ", "ĠnaÃ¯ve"}));
  const TemporaryFolder folder;
  bpe.save(folder / "encoder.json", folder / "vocab.bpe");
  EXPECT_EQ(testing::read_text(folder / "vocab.bpe"), testing::read_text(files / "vocab.bpe"));
}

}  // namespace
}  // namespace evomoe
