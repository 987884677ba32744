#include "evomoe/checkpoint/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/torch_file_writer.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

PickleValue of(auto value) {
  PickleValue result;
  result.value = std::move(value);
  return result;
}

PickleValue sample() {
  PickleValue::Dict dict;
  const auto add = [&](const std::string& key, PickleValue value) {
    dict.keys.push_back(of(key));
    dict.values.push_back(std::move(value));
  };
  add("int", of(int64_t{-5'000'000'000}));
  add("real", of(0.1));
  add("yes", of(true));
  add("none", {});
  add("list", of(PickleValue::List{of(std::string("ü")), of(int64_t{1})}));
  add("scalar", of(torch::tensor(2.5)));
  add("empty", of(torch::zeros({0, 3})));
  for (const auto type :
       {torch::kFloat64, torch::kFloat32, torch::kFloat16, torch::kBFloat16, torch::kInt64,
        torch::kInt32, torch::kInt16, torch::kInt8, torch::kUInt8, torch::kBool}) {
    add(c10::toString(type), of(torch::arange(6).view({2, 3}).t().to(type)));
  }
  return of(dict);
}

TEST(TorchFile, WhatIsWrittenIsReadAgain) {
  testing::TemporaryFolder folder;
  const auto written = sample();
  write_torch_file(folder / "x.pt", written);
  const auto read = read_torch_file(folder / "x.pt");
  EXPECT_EQ(*read.find("int")->get_if<int64_t>(), -5'000'000'000);
  EXPECT_EQ(*read.find("real")->get_if<double>(), 0.1);
  EXPECT_TRUE(*read.find("yes")->get_if<bool>());
  EXPECT_NE(read.find("none")->get_if<std::monostate>(), nullptr);
  EXPECT_EQ(*read.find("list")->get_if<PickleValue::List>()->at(0).get_if<std::string>(), "ü");
  const auto& dict = *written.get_if<PickleValue::Dict>();
  int tensors = 0;
  for (size_t i = 0; i < dict.keys.size(); ++i) {
    const auto* tensor = dict.values[i].get_if<torch::Tensor>();
    if (tensor == nullptr) continue;
    const auto& key = *dict.keys[i].get_if<std::string>();
    const auto& again = *read.find(key)->get_if<torch::Tensor>();
    EXPECT_EQ(again.scalar_type(), tensor->scalar_type()) << key;
    EXPECT_TRUE(again.equal(*tensor)) << key;
    ++tensors;
  }
  EXPECT_EQ(tensors, 12);
}

TEST(TorchFile, TorchLoadsWhatIsWritten) {
  const auto python = testing::source_dir() / ".venv/bin/python";
  if (!fs::exists(python)) GTEST_SKIP() << "no Python with torch at " << python;
  testing::TemporaryFolder folder;
  write_torch_file(folder / "x.pt", sample());
  const auto result =
      testing::run_command(python.string() + " -W ignore -c \"import torch; d = torch.load('" +
                           (folder / "x.pt").string() +
                           "', weights_only=True); print(d['int'], d['real'], d['yes'], d['none'], "
                           "d['BFloat16'].tolist(), d['Bool'].dtype, list(d['empty'].shape))\"");
  EXPECT_EQ(result.out,
            "-5000000000 0.1 True None [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] torch.bool [0, 3]\n")
      << result.err;
}

TEST(TorchFile, AFileThatCannotBeWrittenIsNamed) {
  testing::TemporaryFolder folder;
  EXPECT_THAT([&] { write_torch_file(folder / "missing/x.pt", sample()); },
              ThrowsMessage<Error>(HasSubstr("x.pt: cannot be written")));
}

}  // namespace
}  // namespace evomoe
