#include "tests/fairseq/fairseq_set_fixture.h"

namespace evomoe::fairseq_sets {
namespace {

using FairseqParts = FairseqSet;

TEST_F(FairseqParts, EachExpertOfMoreProcessesThanExpertsIsReadOnce) {
  expect_equal(read_fairseq_checkpoint(golden("moe_w4_e2/replicas") / "x"),
               read_fairseq_checkpoint(golden("moe_w4_e2/whole") / "x"));
}

TEST_F(FairseqParts, ReplicasOfAnExpertThatDifferAreAnError) {
  const auto alter = [](PickleValue& root) {
    auto& weight = at(root, {"model", "decoder.layers.1.moe_layer.experts.0.fc2.bias"});
    weight = of(*weight.get_if<torch::Tensor>() + 1);
  };
  copy("moe_w4_e2/replicas");
  change("x-rank-3.pt", alter);
  expect_error({"x-rank-3.pt: 'decoder.layers.1.moe_layer.experts.0.fc2.bias' differs",
                "x-rank-1.pt", "use the files that one run wrote"});
  // As the message says.
  fs::remove(file("x-rank-2.pt"));
  fs::remove(file("x-rank-3.pt"));
  EXPECT_EQ(read_fairseq_checkpoint(file("x")).updates, 2);

  copy("moe_w4_e2/default");
  change("x-rank-2-shard2.pt", alter);
  expect_error({"x-rank-2-shard2.pt: 'decoder.layers.1.moe_layer.experts.0.fc2.bias' differs"},
               "x-shared-shard0.pt");
}

TEST_F(FairseqParts, AWholeMixtureWithoutExpertsIsToldToBeTheReferencesDefect) {
  fs::copy_file(golden("moe_w2_e4/whole") / "x-shared.pt", file("x.pt"));
  expect_error({"x.pt: has gates and no experts", "defect of the reference"});
  fs::copy_file(golden("moe_w2_e4/sharded") / "x-shared-shard0.pt", file("y-shard0.pt"));
  change("y-shard0.pt", [](PickleValue& root) {
    at(root, {"cfg", "distributed_training", "distributed_world_size"}) = of(int64_t{1});
    dict(at(root, {"shard_metadata"})).values[0] =
        of(List{list(at(root, {"shard_metadata", "param_metadata"})).back()});
    at(root, {"last_optimizer_state"}) = {};
  });
  expect_error({"y-shard0.pt: has gates and no experts"}, "y");
}

TEST_F(FairseqParts, ATiedTensorThatAGpuSavedTwiceIsOneParameter) {
  copy("dense_w2/whole");
  change("x.pt", [](PickleValue& root) {
    auto& twice = at(root, {"model", "decoder.output_projection.weight"});
    twice = of(twice.get_if<torch::Tensor>()->clone());
  });
  expect_equal(read_fairseq_checkpoint(file("x")),
               read_fairseq_checkpoint(golden("dense_w2/whole") / "x"));
}

TEST_F(FairseqParts, AnEqualOutputIsAParameterOfItsOwnWhereTheOptionsSaySo) {
  const std::string output = "decoder.output_projection.weight";
  for (const bool copied : {false, true}) {
    for (const bool tied : {false, true}) {
      copy("dense_w2/whole");
      change("x.pt", [&](PickleValue& root) {
        auto& twice = at(root, {"model", output});
        if (copied) twice = of(twice.get_if<torch::Tensor>()->clone());
        at(root, {"cfg", "model", "share_decoder_input_output_embed"}) = of(tied);
      });
      const auto read = read_fairseq_checkpoint(file("x"), /*with_optimizer=*/false);
      EXPECT_EQ(read.model.contains(output), copied && !tied) << copied << tied;
    }
  }
}

TEST_F(FairseqParts, AGatheredOptimizerStateOfUnknownOrderIsRefused) {
  copy("dense_w2/whole");
  const auto number = [](int64_t instance) {
    return [=](PickleValue& root) {
      auto& optimizer = dict(at(root, {"last_optimizer_state"}));
      optimizer.keys.push_back(of(std::string("param_id_map")));
      optimizer.values.push_back(
          of(Dict{{of(int64_t{0}), of(int64_t{1})}, {of(int64_t{0}), of(instance)}}));
    };
  };
  change("x.pt", number(0));
  EXPECT_EQ(read_fairseq_checkpoint(file("x")).updates, 2);
  copy("dense_w2/whole");
  change("x.pt", number(1));
  expect_error({"x.pt: its optimizer state was gathered", "--use-sharded-state"});
}

}  // namespace
}  // namespace evomoe::fairseq_sets
