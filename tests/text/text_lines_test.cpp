#include "evomoe/text/text_lines.h"

#include <gtest/gtest.h>

#include <random>
#include <sstream>

#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  for_each_line(text, [&](std::string_view line) { lines.emplace_back(line); });
  return lines;
}

TEST(TextLines, EndAsInPythonsTextFiles) {
  EXPECT_EQ(lines_of("a\n\r\nb\rc"), (std::vector<std::string>{"a", "", "b", "c"}));
  EXPECT_EQ(lines_of("a\n"), std::vector<std::string>{"a"});
  EXPECT_TRUE(lines_of("").empty());
}

std::vector<std::string> lines_of_stream(const std::string& text) {
  std::istringstream stream(text);
  LineReader reader(stream, "text");
  std::vector<std::string> lines;
  for (std::string line; reader.next(line);) lines.push_back(line);
  EXPECT_EQ(reader.number(), static_cast<int64_t>(lines.size()));
  return lines;
}

TEST(LineReader, ReadsTheSameLinesOfAStreamAsOfAFile) {
  for (const auto* text : {"", "\n", "\r", "\r\n", "\n\r", "a", "a\r", "a\r\nb", "\r\r\n\n"})
    EXPECT_EQ(lines_of_stream(text), lines_of(text)) << ::testing::PrintToString(text);
  std::mt19937 random(5);
  // Of these, only the first two end lines: not the others that Unicode calls ends of lines.
  const std::vector<std::string> pieces = {
      "\n", "\r", "a", " ", "\xFF", "\v", "\f", "\u0085", "\u2028", "\x1E", std::string(1, '\0')};
  for (int i = 0; i < 5000; ++i) {
    std::string text;
    for (size_t k = random() % 12; k > 0; --k) text += pieces[random() % pieces.size()];
    ASSERT_EQ(lines_of_stream(text), lines_of(text)) << ::testing::PrintToString(text);
  }
}

TEST(LineReader, NamesThePlaceAndWhatCannotBeRead) {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "text", "a\rb\r\n\xFF\n");
  LineReader reader("input", (folder / "text").string());
  std::string line;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(reader.next(line));
  expect_error([&] { require_utf8(line, reader.where()); },
               {(folder / "text").string() + ":3", "not UTF-8", "iconv"});
  EXPECT_FALSE(reader.next(line));
  for (const auto& path : {folder.path(), folder / "none"})
    expect_error([&] { LineReader("input", path.string()); }, {"--input " + path.string()});
}

TEST(TextLines, StripsWhatPythonCallsWhiteSpace) {
  EXPECT_EQ(strip(" \t\xC2\xA0x y\xE3\x80\x80\x1C "), "x y");
  EXPECT_EQ(strip("\xE3\x80\x80"), "");
  EXPECT_EQ(strip_end(" a "), " a");
  EXPECT_EQ(strip("\xA0"), "\xA0");  // no UTF-8, so no white space
}

TEST(TextLines, KnowsUtf8) {
  EXPECT_TRUE(is_utf8("aé中😀"));
  for (const char* bad :
       {"\x80", "\xC0\xAF", "\xE4\xB8", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xFF"}) {
    EXPECT_FALSE(is_utf8(bad));
  }
}

}  // namespace
}  // namespace evomoe
