#include "evomoe/base/json_file.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using nlohmann::ordered_json;

TEST(JsonFile, ComesBackInItsOrder) {
  const testing::TemporaryFolder folder;
  ordered_json object;
  object["z"] = {1, 2.5, nullptr};
  object["a"] = {{"ü", "\"\n"}};
  write_json_file(folder / "x.json", object);
  EXPECT_EQ(read_json_file<ordered_json>(folder / "x.json").dump(), object.dump());
  write_json_file(folder / "x.json", ordered_json({{"bytes", "\xFF"}}));
  EXPECT_EQ(read_json_file(folder / "x.json").at("bytes").get<std::string>(), "\uFFFD");
}

TEST(JsonFile, WhatIsNoObjectIsNamed) {
  const testing::TemporaryFolder folder;
  const auto path = folder / "x.json";
  expect_error([&] { read_json_file(path); }, {path.string(), "cannot open"});
  using std::string_literals::operator""s;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "at byte 1: "},
      {"{\"a\": 1", "at byte 8: unexpected end of input"},
      {"[1]", "its type is array"},
      {"3", "its type is number"},
      {"{\"a\": 1} x", "at byte 10: "},
      {"{}\0"s, "at byte 3: a NUL byte"},
      {std::string(200, '['), "more than 100 levels"}};
  for (const auto& [text, reason] : cases) {
    testing::write_text(path, text);
    const std::initializer_list<std::string> words = {
        path.string() + ": is not a JSON object (" + reason, "copy it again, or make it again"};
    expect_error([&] { read_json_file(path); }, words);
    expect_error([&] { read_json_file<ordered_json>(path); }, words);
  }
  testing::write_text(path, R"({"a": 1, "b": {"c": 1, "c": 2}})");
  std::string repeated;
  read_json_file(path, &repeated);
  EXPECT_EQ(repeated, "c");
}

}  // namespace
}  // namespace evomoe
