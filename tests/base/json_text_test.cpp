#include "evomoe/base/json_text.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace evomoe {
namespace {

std::string nested(size_t levels, const std::string& open, const std::string& close) {
  std::string text;
  for (size_t i = 0; i < levels; ++i) text += open;
  text += "1";
  for (size_t i = 0; i < levels; ++i) text += close;
  return text;
}

TEST(ParseJson, WhatIsNoJsonIsDiscarded) {
  EXPECT_EQ(parse_json(R"({"a": [1, {"b": null}]})")["a"][1].dump(), R"({"b":null})");
  EXPECT_EQ(parse_json<nlohmann::ordered_json>(R"({"b": 1, "a": 2})").dump(), R"({"b":1,"a":2})");
  for (const char* text : {"", "{", "{} x", "{\"a\": \"\xff\"}"})
    EXPECT_TRUE(parse_json(text).is_discarded()) << text;
  using std::string_literals::operator""s;
  for (const auto& text : {"\0"s, "{}\0"s, "{}\0{}"s, "[1,\0]"s})
    EXPECT_TRUE(parse_json(text).is_discarded()) << "a NUL byte, of " << text.size() << " bytes";
}

TEST(ParseJson, AKeyThatAnObjectHasTwiceIsTold) {
  std::string repeated;
  parse_json(R"({"a": {"b": 1}, "b": [{"a": 1}, {"a": 2}]})", &repeated);
  EXPECT_EQ(repeated, "") << "each object has them once";
  EXPECT_EQ(parse_json(R"([{"a": 1}, {"c": {"b": 1, "b": 2}, "c": 3}])", &repeated)[1]["c"], 3);
  EXPECT_EQ(repeated, "b");
}

TEST(ParseJson, SoIsWhatWouldUseUpTheStackWhenItIsCopiedOrPrinted) {
  EXPECT_TRUE(parse_json(nested(90, "[", "]")).is_array());
  for (const size_t levels : {200, 1'000'000}) {
    EXPECT_TRUE(parse_json(nested(levels, "[", "]")).is_discarded()) << levels;
    EXPECT_TRUE(parse_json(nested(levels, "{\"a\":", "}")).is_discarded()) << levels;
  }
  EXPECT_TRUE(parse_json(std::string(1'000'000, '[')).is_discarded());
}

TEST(ParseJson, TheProblemIsTheFirstWithItsPlace) {
  using std::string_literals::operator""s;
  struct Case {
    std::string text, reason;
    bool is_at_end;
  };
  const std::vector<Case> cases = {
      {"", "at byte 1: ", true},
      {"{\"a\": ", "at byte 7: unexpected end of input", true},
      {"{\"a\": tr", "at byte 9: invalid literal", true},
      {"{\"a\": \"b", "at byte 9: ", true},
      {"{\"a\": \"\\ud8", "at byte 12: ", true},
      {"{\"a\": 1", "at byte 8: unexpected end of input", true},
      {"{\"a\": tru}", "at byte 10: invalid literal", false},
      {"{\"a\": 1} x", "at byte 10: ", false},
      {"{\"a\": 1e999", "at byte 11: number overflow", false},
      {"{\"a\": \"\\ud800\"}", "at byte 14: invalid string: surrogate", false},
      {"{}\0"s, "at byte 3: a NUL byte", false},
      {nested(200, "[", "]"), "more than 100 levels", false},
      {nested(101, "[", "]"), "more than 100 levels", false},
      {std::string(200, '['), "more than 100 levels", false}};
  for (const auto& each : cases) {
    EXPECT_TRUE(parse_json(each.text).is_discarded()) << each.text;
    const auto problem = json_problem(each.text);
    EXPECT_TRUE(problem.reason.starts_with(each.reason)) << each.text << ": " << problem.reason;
    EXPECT_EQ(problem.is_at_end, each.is_at_end) << each.text;
  }
}

TEST(JsonText, IsOneLineOrIndented) {
  const nlohmann::ordered_json value = {{"z", {1, nullptr}}, {"a", "\u00fc\n"}};
  EXPECT_EQ(json_text(value), "{\"z\":[1,null],\"a\":\"\u00fc\\n\"}");
  EXPECT_EQ(json_text(value["z"], 2), "[\n  1,\n  null\n]");
  EXPECT_EQ(json_text(nlohmann::json(value)), "{\"a\":\"\u00fc\\n\",\"z\":[1,null]}");
}

TEST(JsonText, WhatIsNoUtf8IsReplacedOrRefused) {
  const nlohmann::json value = {{"name", "a\xff"}};
  EXPECT_EQ(json_text(value), "{\"name\":\"a\ufffd\"}");
  EXPECT_THROW(json_text(value, -1, BadUtf8::kThrow), nlohmann::json::type_error);
}

}  // namespace
}  // namespace evomoe
