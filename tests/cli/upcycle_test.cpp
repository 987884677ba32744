// A dense model of transformers becomes a mixture of experts, is trained in parts, and goes back.
#include "evomoe/checkpoint/safetensors.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

class Upcycling : public Commands {
 protected:
  static constexpr auto* kModel =
      "--arch llama_tiny --decoder-layers 4 --decoder-embed-dim 16 --decoder-ffn-embed-dim 32 "
      "--decoder-attention-heads 2 --decoder-kv-heads 1 --share-decoder-input-output-embed ";
  static constexpr auto* kMixture =
      "--moe-freq 2 --moe-expert-count 4 --criterion moe_cross_entropy ";
  static constexpr auto* kTopk = "--moe-router topk --moe-train-capacity-token-fraction 0 ";
  /// An update that changes nothing that a perplexity shows.
  static constexpr auto* kNoChange = "--lr 1e-12 --max-update 1 ";

  std::string folder(const std::string& name) const { return (folder_ / name).string(); }

  std::string run(const std::string& arguments) {
    const auto result = evomoe(arguments);
    EXPECT_EQ(result.exit_code, 0) << arguments << "\n" << result.err;
    return result.err;
  }

  /// A Llama as transformers has it, taken in as the run `dense`.
  void take_in_llama() {
    run(train_arguments("trained") + kModel + "--max-update 60 --lr 0.01");
    run("convert " + folder("trained/checkpoint_last") + " --to hf --hf-architecture llama " +
        "--output " + folder("llama"));
    run("convert " + folder("llama") + " --from hf --data " + folder("bin") + " --output " +
        folder("dense"));
  }

  std::string upcycle(const std::string& name, const std::string& options) {
    return run(fmt::format(
        "train {0} --config {1}/config.yaml --finetune-from-model {1}/checkpoint_last --save-dir "
        "{2} --tokens-per-sample 16 --batch-size 4 --log-format none --threads 1 "
        "{3} {4}",
        folder("bin"), folder("dense"), folder(name), kMixture, options));
  }

  double perplexity(const std::string& name) {
    const auto result = evomoe(fmt::format(
        "eval-lm {} --path {}/checkpoint_last --gen-subset valid --log-format json --threads 1",
        folder("bin"), folder(name)));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.exit_code == 0 ? nlohmann::json::parse(result.out).at("perplexity").get<double>()
                                 : 0;
  }

  TensorMap tensors(const std::string& name, const std::string& file) const {
    return read_safetensors(folder_ / (name + "/checkpoint_last/" + file));
  }
};

TEST_F(Upcycling, CopiesOfADenseBlockWithWeightsThatSumToOneChangeNothing) {
  take_in_llama();
  const double dense = perplexity("dense");
  EXPECT_NEAR(dense, perplexity("trained"), 1e-5 * dense);
  const std::string dts =
      "--moe-router dts --use-gumbel-softmax --moe-eval-capacity-token-fraction -1 ";
  const std::string copy = "--diversify copy ";
  for (const auto& router : {kTopk + copy, dts + "--dts-normalize-weights " + copy,
                             dts + "--dts-scale-weights --dts-final-k 2 " + copy}) {
    SCOPED_TRACE(router);
    std::filesystem::remove_all(folder_ / "mixture");
    const auto said = upcycle("mixture", router + kNoChange);
    EXPECT_THAT(said, HasSubstr("its feed-forward blocks are the shared experts"));
    EXPECT_NEAR(perplexity("mixture"), dense, 1e-5 * dense);
  }
  // What changes experts shows, and so does a weight of less than one.
  for (const auto& changed :
       {kTopk + std::string("--diversify noise --diversify-ratio 0.5 "),
        kTopk + std::string("--diversify mask --diversify-ratio 0.5 "),
        kTopk + std::string("--diversify drop-upcycling --diversify-ratio 0.5 "), dts + copy}) {
    SCOPED_TRACE(changed);
    std::filesystem::remove_all(folder_ / "mixture");
    upcycle("mixture", changed + kNoChange);
    EXPECT_GT(std::abs(perplexity("mixture") - dense), 1e-3 * dense);
  }
}

TEST_F(Upcycling, GoesBackToTransformersAsAMixture) {
  take_in_llama();
  upcycle("mixture",
          "--moe-router dts --use-gumbel-softmax --gumbel-decay-factor 3 "
          "--switch-to-hard-gumbel-softmax 3 --moe-eval-capacity-token-fraction -1 "
          "--dts-scale-weights --diversify noise --diversify-ratio 0.1 --lr 0.003 --max-update 6");
  run("convert " + folder("mixture/checkpoint_last") + " --to hf --output " + folder("hf"));
  const auto config = testing::read_json(folder_ / "hf/config.json");
  EXPECT_EQ(config.at("model_type"), "qwen2_moe");
  EXPECT_EQ(config.at("decoder_sparse_step"), 2);
  EXPECT_EQ(config.at("num_experts_per_tok"), 1);
  EXPECT_EQ(config.at("norm_topk_prob"), true);
  run("convert " + folder("hf") + " --from hf --data " + folder("bin") + " --output " +
      folder("back"));
  const double before = perplexity("mixture");
  EXPECT_NEAR(perplexity("back"), before, 1e-6 * before);
}

TEST_F(Upcycling, WhatIsFrozenStaysAndHasNoMoments) {
  take_in_llama();
  for (const std::string more : {"", "--checkpoint-activations ",
                                 "--shared-expert-updates 2 --moe-router dts --use-gumbel-softmax "
                                 "--moe-eval-capacity-token-fraction -1 "}) {
    SCOPED_TRACE(more);
    std::filesystem::remove_all(folder_ / "part");
    const auto said = run(fmt::format(
        "train {0} --config {1}/config.yaml --finetune-from-model {1}/checkpoint_last --save-dir "
        "{2} --tokens-per-sample 16 --batch-size 4 --log-format none --threads 1 {3} --diversify "
        "noise --diversify-ratio 0.1 --lr 0.01 --max-update 4 "
        "--freeze embedding,norm,matrix {4}",
        folder("bin"), folder("dense"), folder("part"), kMixture,
        more.starts_with("--shared") ? more : kTopk + more));
    EXPECT_THAT(said, HasSubstr("parameters are trained (--freeze embedding,norm,matrix)"));
    const auto before = tensors("dense", "model.safetensors");
    const auto after = tensors("part", "model.safetensors");
    int same = 0;
    for (const auto& [name, tensor] : before) {
      if (!after.contains(name)) continue;  // became experts
      EXPECT_TRUE(torch::equal(tensor, after.at(name))) << name;
      ++same;
    }
    EXPECT_GT(same, 20);
    const auto& experts = after.at("decoder.layers.1.moe_layer.experts.w1");
    EXPECT_FALSE(torch::allclose(experts[0], before.at("decoder.layers.1.fc1.weight"), 0, 1e-3));
    const auto state = tensors("part", "optimizer.safetensors");
    EXPECT_TRUE(state.contains("decoder.layers.1.moe_layer.experts.w1.exp_avg"));
    EXPECT_TRUE(state.contains("decoder.layers.1.moe_layer.gate.wg.weight.exp_avg"));
    EXPECT_FALSE(state.contains("decoder.embed_tokens.weight.exp_avg"));
    EXPECT_FALSE(state.contains("decoder.layers.1.self_attn.q_proj.weight.exp_avg"));
  }
  // It goes on, and needs no memory for what is frozen.
  const auto more = [&](const std::string& freeze) {
    return fmt::format(
        "train {0} --config {1}/config.yaml --save-dir {1} --batch-size 4 --log-format none "
        "--threads 1 --max-update 6 {2}",
        folder("bin"), folder("part"), freeze);
  };
  run(more(""));
  expect_refused(more("--freeze embedding,wing"), {"there is no kind of parameter 'wing'"});
  expect_refused(more("--freeze expert,router,embedding,head,norm,bias,matrix"),
                 {"nothing is left to train"});
}

}  // namespace
}  // namespace evomoe
