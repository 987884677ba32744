#include "evomoe/report/terminal_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <sstream>

namespace evomoe {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

long columns(const std::string& line) {
  return std::count_if(line.begin(), line.end(),
                       [](unsigned char c) { return (c & 0xC0) != 0x80; });
}

TerminalChart sample_chart() {
  TerminalChart chart{"evomoe: experts per token", {}, {}, "updates"};
  for (int update = 10; update <= 800; update += 10)
    chart.points.emplace_back(update, update < 400 ? 1 : 8);
  chart.marks = {{1, "shared-expert"}, {400, "dense-to-sparse"}, {410, "sparse"}, {795, "late"}};
  return chart;
}

TEST(TerminalChart, BarsRiseWithTheValuesAndLieOverTheirPlaces) {
  const auto lines = lines_of(chart_text(sample_chart(), /*utf8=*/false));
  ASSERT_EQ(lines.size(), 11U);
  EXPECT_EQ(lines[0], "evomoe: experts per token");
  const auto frame = lines[1].find('|');
  EXPECT_EQ(lines[1].substr(0, frame), "      8 ");
  // The left half of the top row is empty, the right half is full; below a bar of 1 of 8.
  EXPECT_EQ(lines[1].find('#'), frame + 1 + 43);
  EXPECT_EQ(lines[1].substr(frame + 1 + 44), std::string(44, '#'));
  EXPECT_EQ(lines[6].substr(frame + 1, 43), std::string(43, ':'));
  EXPECT_TRUE(lines[8].ends_with("800 updates"));
  EXPECT_EQ(lines[9].find("^dense-to-sparse"), frame + 1 + 44);
  EXPECT_EQ(lines[10].find("^sparse"), frame + 1 + 45) << "on a line of its own";
  EXPECT_EQ(lines[9].find("late^"), frame + 1 + 87 - 4) << "to the left where it has no room";
  EXPECT_EQ(lines[9].substr(frame, 15), " ^shared-expert");
}

TEST(TerminalChart, IsAtMost100ColumnsWideAndOfOneByteCharactersWithoutUtf8) {
  for (const bool utf8 : {false, true}) {
    const auto text = chart_text(sample_chart(), utf8);
    for (const auto& line : lines_of(text)) EXPECT_LE(columns(line), 100) << line;
    EXPECT_EQ(columns(text) == static_cast<long>(text.size()), !utf8);
    EXPECT_EQ(text.find("█") != std::string::npos, utf8);
  }
}

TEST(TerminalChart, ValuesThatAreNoNumbersAndSinglePointsAreBorne) {
  TerminalChart chart{"title", {}, {}, "updates"};
  EXPECT_EQ(chart_text(chart, false), "");
  chart.points = {{1, std::nan("")}, {2, std::numeric_limits<double>::infinity()}};
  EXPECT_EQ(chart_text(chart, false), "");
  chart.points = {{10, 0}};
  EXPECT_THAT(chart_text(chart, false), HasSubstr("10 updates"));
  chart.points = {{0, 5}};
  chart.marks = {{0, "begin"}};
  EXPECT_THAT(chart_text(chart, false), HasSubstr("##"));
}

TEST(Locale, IsThatOfTheFirstVariableThatIsSet) {
  const auto is_utf8 = [](const char* all, const char* type, const char* lang) {
    const std::pair<const char*, const char*> values[] = {
        {"LC_ALL", all}, {"LC_CTYPE", type}, {"LANG", lang}};
    for (const auto& [name, value] : values) setenv(name, value, 1);
    return locale_is_utf8();
  };
  EXPECT_TRUE(is_utf8("", "", "de_DE.UTF-8"));
  EXPECT_TRUE(is_utf8("", "C.utf8", "C"));
  EXPECT_FALSE(is_utf8("C", "", "de_DE.UTF-8"));
  EXPECT_FALSE(is_utf8("", "", "de_DE.ISO-8859-1"));
  EXPECT_FALSE(is_utf8("", "", ""));
}

}  // namespace
}  // namespace evomoe
