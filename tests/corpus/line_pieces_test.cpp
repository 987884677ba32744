#include "evomoe/corpus/line_pieces.h"

#include <gtest/gtest.h>

#include "evomoe/corpus/documents.h"
#include "evomoe/text/text_lines.h"
#include "tests/testing/compressed.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Lines = std::vector<std::string>;

Lines lines_of(std::string_view text) {
  Lines lines;
  for_each_line(text, [&](std::string_view line) { lines.emplace_back(line); });
  return lines;
}

/// 4 KiB are read at once, and a piece behind them.
constexpr int64_t kFirstBorder = 4096 + kPieceBytes;

struct Read {
  Lines lines;
  int64_t pieces = 0;
};

Read read(const std::string& text, const std::string& name = "x") {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / name, text);
  LinePieces pieces(folder / name);
  Read read;
  for (std::string piece; pieces.next(piece); ++read.pieces) {
    const auto lines = lines_of(piece);
    read.lines.insert(read.lines.end(), lines.begin(), lines.end());
  }
  return read;
}

TEST(LinePieces, HaveTheLinesOfTheWholeText) {
  EXPECT_EQ(read("").pieces, 0);
  EXPECT_EQ(read("a").lines, (Lines{"a"}));
  EXPECT_EQ(read("a\r\n\rb\n\n").lines, (Lines{"a", "", "b", ""}));
  std::string text;
  while (text.size() < 5u << 20) text += "a line of the text, which is cut into pieces somewhere\n";
  const auto made = read(text);
  EXPECT_EQ(made.pieces, 3);
  EXPECT_TRUE(made.lines == lines_of(text));
  EXPECT_TRUE(read(testing::gzipped(text), "x.gz").lines == lines_of(text));
}

TEST(LinePieces, ALineThatIsLongerThanAPieceIsWhole) {
  const std::string text = "a\n" + std::string(7u << 20, 'b') + "\nc";
  EXPECT_TRUE(read(text).lines == lines_of(text));
}

TEST(LinePieces, AnEndOfALineOfTwoBytesIsNotCut) {
  // One of the lengths puts the border of the first piece between \r and \n.
  for (int64_t length = kFirstBorder - 3; length <= kFirstBorder + 1; ++length) {
    for (const char* end : {"\r\n", "\r"}) {
      const auto text = std::string(length, 'a') + end + "b" + end + "cccccc";
      EXPECT_EQ(read(text).lines.size(), 3u) << length;
    }
  }
}

}  // namespace
}  // namespace evomoe
