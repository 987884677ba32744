#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/fairseq/fairseq_checkpoint.h"
#include "evomoe/fairseq/torch_file.h"
#include "evomoe/fairseq/torch_file_writer.h"
#include "tests/testing/paths.h"

namespace evomoe::fairseq_sets {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using Dict = PickleValue::Dict;
using List = PickleValue::List;

inline PickleValue of(auto value) {
  PickleValue made;
  made.value = std::move(value);
  return made;
}

/// The entry at the end of a path of keys, to be changed.
inline PickleValue& at(PickleValue& value, const std::vector<std::string>& path) {
  auto* here = &value;
  for (const auto& key : path) {
    const auto* found = here->find(key);
    if (found == nullptr) throw std::runtime_error("no entry " + key);
    here = const_cast<PickleValue*>(found);
  }
  return *here;
}

inline List& list(PickleValue& value) { return std::get<List>(value.value); }
inline Dict& dict(PickleValue& value) { return std::get<Dict>(value.value); }

inline void expect_equal(const TensorMap& read, const TensorMap& expected) {
  EXPECT_EQ(read.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(read.contains(name)) << name;
    EXPECT_TRUE(read.at(name).equal(tensor)) << name;
  }
}

inline void expect_equal(const FairseqCheckpoint& read, const FairseqCheckpoint& expected) {
  expect_equal(read.model, expected.model);
  expect_equal(read.optimizer, expected.optimizer);
  EXPECT_EQ(read.updates, expected.updates);
  EXPECT_EQ(read.epoch, expected.epoch);
  EXPECT_EQ(read.iterations_in_epoch, expected.iterations_in_epoch);
}

/// A copy of a set of tests/golden/fsdp, whose files a test may change.
class FairseqSet : public ::testing::Test {
 protected:
  static fs::path golden(const std::string& set) { return testing::golden_dir() / "fsdp" / set; }

  void SetUp() override {
    if (!fs::exists(golden(""))) GTEST_SKIP() << "no checkpoints in " << golden("");
  }

  void copy(const std::string& set) {
    for (const auto& entry : fs::directory_iterator(golden(set)))
      fs::copy_file(entry.path(), file(entry.path().filename().string()),
                    fs::copy_options::overwrite_existing);
  }

  fs::path file(const std::string& name) const { return folder_ / name; }

  void change(const std::string& name, const std::function<void(PickleValue&)>& edit) {
    auto root = read_torch_file(file(name));
    edit(root);
    write_torch_file(file(name), root);
  }

  void expect_error(const std::vector<std::string>& words, const std::string& name = "x") {
    for (const auto& word : words) {
      EXPECT_THAT([&] { read_fairseq_checkpoint(file(name)); },
                  ThrowsMessage<Error>(HasSubstr(word)));
    }
  }

  testing::TemporaryFolder folder_;
};

}  // namespace evomoe::fairseq_sets
