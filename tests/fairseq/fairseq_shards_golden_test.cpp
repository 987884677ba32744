#include <random>

#include "tests/fairseq/fairseq_set_fixture.h"

namespace evomoe::fairseq_sets {
namespace {

using FairseqShards = FairseqSet;

TEST_F(FairseqShards, GiveTheTensorsAndAdamStateOfTheSameRunInOneProcess) {
  for (const std::string name : {"dense_w2", "moe_w2_e4", "moe_w4_e2"}) {
    const auto whole = read_fairseq_checkpoint(golden(name + "/whole") / "x");
    ASSERT_EQ(whole.updates, 2);
    ASSERT_EQ(whole.optimizer.size(), 3 * whole.model.size());
    for (const std::string kind : {"/default", "/sharded"}) {
      SCOPED_TRACE(name + kind);
      expect_equal(read_fairseq_checkpoint(golden(name + kind) / "x"), whole);
    }
  }
}

TEST_F(FairseqShards, AreFoundByEachNameOfTheSet) {
  const auto dense = golden("dense_w2/sharded"), mixture = golden("moe_w4_e2/sharded");
  for (const std::string name : {"x", "x.pt", "x-shard0.pt", "x-shard1.pt", "x-shard1"})
    EXPECT_EQ(read_fairseq_checkpoint(dense / name).updates, 2) << name;
  for (const std::string name :
       {"x", "x.pt", "x-shared-shard3.pt", "x-rank-2-shard2.pt", "x-shared.pt", "x-rank-0.pt"})
    EXPECT_EQ(read_fairseq_checkpoint(mixture / name).updates, 2) << name;
  for (const auto& set : {dense, mixture}) {
    EXPECT_TRUE(is_fairseq_checkpoint(set / "x.pt"));
    EXPECT_FALSE(is_fairseq_checkpoint(set / "y.pt"));
  }
}

TEST_F(FairseqShards, AMissingFileIsNamed) {
  for (const std::string set : {"dense_w2/default", "moe_w2_e4/sharded", "moe_w4_e2/default"}) {
    for (const auto& entry : fs::directory_iterator(golden(set))) {
      const auto missing = entry.path().filename().string();
      testing::TemporaryFolder copied;
      std::string other;
      for (const auto& kept : fs::directory_iterator(golden(set))) {
        if (kept.path() == entry.path()) continue;
        other = kept.path().filename().string();
        fs::copy_file(kept.path(), copied / other);
      }
      EXPECT_THAT([&] { read_fairseq_checkpoint(copied / other); },
                  ThrowsMessage<Error>(HasSubstr(missing + ": is missing")))
          << set;
    }
  }
}

TEST_F(FairseqShards, FilesOfALargerRunBeforeAreNoPartOfTheSet) {
  copy("dense_w2/sharded");
  testing::write_text(file("x-shard2.pt"), "older");
  EXPECT_EQ(read_fairseq_checkpoint(file("x")).updates, 2);
}

TEST_F(FairseqShards, WithoutTheNumberOfProcessesAllFilesCountAndTooFewAreAnError) {
  copy("dense_w2/sharded");
  const auto forget = [](PickleValue& root) {
    at(root, {"cfg", "distributed_training"}) = of(Dict{});
  };
  change("x-shard0.pt", forget);
  expect_equal(read_fairseq_checkpoint(file("x")),
               read_fairseq_checkpoint(golden("dense_w2/whole") / "x"));
  fs::remove(file("x-shard1.pt"));
  expect_error({"x-shard0.pt: the pieces of 'flat_param_0'", "are all files there?"});
}

TEST_F(FairseqShards, MetadataOfFairscaleBefore04AreRead) {
  copy("moe_w2_e4/sharded");
  for (const std::string name :
       {"x-shared-shard0.pt", "x-shared-shard1.pt", "x-rank-0-shard0.pt", "x-rank-1-shard1.pt"}) {
    change(name, [](PickleValue& root) {
      for (auto& instance : list(at(root, {"shard_metadata", "param_metadata"}))) {
        auto& flat = at(instance, {"params", "flat_param_0"});
        Dict old;
        const auto put = [&](const std::string& key, PickleValue value) {
          old.keys.push_back(of(key));
          old.values.push_back(std::move(value));
        };
        put("fsdp_path", at(instance, {"fsdp_path"}));
        put("is_flat", of(true));
        put("num_padded", of(List{at(flat, {"padding"})}));
        put("param_names", at(flat, {"names"}));
        put("param_shapes", at(flat, {"shapes"}));
        put("param_numels", at(flat, {"numels"}));
        instance = of(std::move(old));
      }
      for (auto& key : dict(at(root, {"model"})).keys) {
        auto& text = std::get<std::string>(key.value);
        if (text.ends_with("flat_param_0")) text.resize(text.size() - 2);
      }
    });
  }
  expect_equal(read_fairseq_checkpoint(file("x")),
               read_fairseq_checkpoint(golden("moe_w2_e4/whole") / "x"));
}

TEST_F(FairseqShards, MetadataThatDoNotFitTheTensorsAreAnErrorThatNamesTheFile) {
  const auto flat = [](PickleValue& root, const std::string& entry) -> PickleValue& {
    return at(list(at(root, {"shard_metadata", "param_metadata"})).at(0),
              {"params", "flat_param_0", entry});
  };
  const std::vector<std::pair<std::function<void(PickleValue&)>, std::string>> cases = {
      {[&](auto& root) { flat(root, "padding") = of(int64_t{1}); },
       "x-shard0.pt: the pieces of 'flat_param_0'"},
      {[&](auto& root) { flat(root, "padding") = of(int64_t{1'000'000}); },
       "x-shard1.pt: the piece of 'flat_param_0'"},
      {[&](auto& root) { flat(root, "padding") = of(int64_t{-1}); },
       "x-shard1.pt: the padding of 'flat_param_0' is -1"},
      {[&](auto& root) { list(flat(root, "numels")).at(0) = of(int64_t{5}); },
       "x-shard1.pt: the metadata of 'decoder.embed_tokens.weight'"},
      {[&](auto& root) { list(flat(root, "names")).pop_back(); },
       "x-shard1.pt: the metadata of 'flat_param_0' name"},
      {[&](auto& root) { list(flat(root, "names")).at(0) = of(std::string("other")); },
       "x-shard1.pt: its metadata describe another model"},
      {[&](auto& root) {
         dict(at(root, {"last_optimizer_state", "state"})).keys[0] = of(int64_t{9});
       },
       "x-shard1.pt: the optimizer has a parameter 9"},
      {[&](auto& root) {
         auto& state = dict(at(root, {"last_optimizer_state", "state"})).values[0];
         at(state, {"step"}) = of(int64_t{3});
       },
       "x-shard1.pt: is of another update"},
      {[&](auto& root) {
         list(at(list(at(root, {"shard_metadata", "param_metadata"})).at(0),
                 {"params", "flat_param_0", "shapes"}))
             .at(0) = of(List{of(int64_t{1} << 62), of(int64_t{4})});
       },
       "x-shard1.pt: the metadata of 'decoder.embed_tokens.weight'"}};
  for (const auto& [edit, message] : cases) {
    copy("dense_w2/sharded");
    change("x-shard1.pt", edit);
    expect_error({message});
  }
}

TEST_F(FairseqShards, AShardUnderAnotherNameIsRefusedWithTheRightNames) {
  fs::copy_file(golden("dense_w2/sharded") / "x-shard0.pt", file("x.pt"));
  expect_error({"x.pt: is a shard", "x-shard0.pt"});
}

TEST_F(FairseqShards, AnyChangedByteOfAFileGivesDataOrAnError) {
  std::mt19937 random(1);
  int errors = 0;
  for (const std::string name : {"x-rank-1-shard1.pt", "x-shared-shard0.pt"}) {
    copy("moe_w4_e2/sharded");
    const auto whole = testing::read_text(file(name));
    // The pickle is at the start; half of the trials change one byte, which most readers survive.
    for (int trial = 0; trial < 400; ++trial) {
      auto changed = whole;
      for (int i = 0; i < (trial % 2 == 0 ? 1 : 10); ++i)
        changed[random() % std::min<size_t>(changed.size(), 7'000)] = static_cast<char>(random());
      testing::write_text(file(name), changed);
      try {
        read_fairseq_checkpoint(file("x"));
      } catch (const Error&) {
        ++errors;
      }
    }
  }
  EXPECT_GT(errors, 300);
}

TEST_F(FairseqShards, AnyChangedNumberOrNameOfTheMetadataGivesDataOrAnError) {
  // Through a sound container, whose checksums would otherwise refuse most changes.
  copy("moe_w4_e2/sharded");
  const auto sound = read_torch_file(file("x-shared-shard1.pt"));
  std::mt19937 random(1);
  const std::vector<int64_t> numbers = {-1, 0, 1, 7, 1'000, int64_t{1} << 40, INT64_MAX, INT64_MIN};
  const std::function<void(PickleValue&)> damage = [&](PickleValue& value) {
    if (random() % 150 == 0) {
      value = {};
    } else if (auto* number = std::get_if<int64_t>(&value.value)) {
      if (random() % 20 == 0) *number = numbers[random() % numbers.size()];
    } else if (auto* text = std::get_if<std::string>(&value.value)) {
      if (random() % 40 == 0 && !text->empty()) (*text)[random() % text->size()] = '.';
    } else if (auto* items = std::get_if<List>(&value.value)) {
      if (random() % 40 == 0 && !items->empty()) items->pop_back();
      for (auto& item : *items) damage(item);
    } else if (auto* entries = std::get_if<Dict>(&value.value)) {
      for (auto& item : entries->values) damage(item);
    }
  };
  int errors = 0;
  for (int trial = 0; trial < 300; ++trial) {
    auto changed = sound;
    damage(at(changed, {trial % 2 == 0 ? "shard_metadata" : "last_optimizer_state"}));
    write_torch_file(file("x-shared-shard1.pt"), changed);
    try {
      read_fairseq_checkpoint(file("x"));
    } catch (const Error&) {
      ++errors;
    }
  }
  EXPECT_GT(errors, 100);
}

TEST_F(FairseqShards, HalfPrecisionBecomesFloat32) {
  copy("moe_w2_e4/sharded");
  const auto halve = [](PickleValue& root) {
    for (auto& value : dict(at(root, {"model"})).values)
      value = of(value.get_if<torch::Tensor>()->to(torch::kFloat16));
  };
  for (const auto& entry : fs::directory_iterator(golden("moe_w2_e4/sharded")))
    change(entry.path().filename().string(), halve);
  const auto read = read_fairseq_checkpoint(file("x"));
  const auto whole = read_fairseq_checkpoint(golden("moe_w2_e4/whole") / "x");
  for (const auto& [name, tensor] : whole.model) {
    const auto rounded = tensor.to(torch::kFloat16).to(torch::kFloat32);
    EXPECT_EQ(read.model.at(name).scalar_type(), torch::kFloat32) << name;
    EXPECT_TRUE(read.model.at(name).equal(rounded)) << name;
  }
}

}  // namespace
}  // namespace evomoe::fairseq_sets
