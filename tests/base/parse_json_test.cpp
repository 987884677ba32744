#include "evomoe/base/parse_json.h"

#include <gtest/gtest.h>

#include <string>

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

}  // namespace
}  // namespace evomoe
