#include "evomoe/base/json_file.h"

#include <gtest/gtest.h>

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
  for (const auto* text : {"", "{\"a\": 1", "[1]", "3", "{\"a\": 1} x"}) {
    testing::write_text(path, text);
    expect_error([&] { read_json_file(path); }, {path.string(), "is not a JSON object"});
  }
  testing::write_text(path, R"({"a": 1, "b": {"c": 1, "c": 2}})");
  std::string repeated;
  read_json_file(path, &repeated);
  EXPECT_EQ(repeated, "c");
}

}  // namespace
}  // namespace evomoe
