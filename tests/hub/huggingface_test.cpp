// Models of transformers (EVOMOE_PYTHON) and ours have the same logits, in both directions:
// huggingface_models.py makes tiny ones and runs them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <sstream>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/safetensors.h"
#include "evomoe/config/option_table.h"
#include "evomoe/hub/evaluation_topk.h"
#include "evomoe/hub/hub_architecture.h"
#include "evomoe/hub/hub_export.h"
#include "evomoe/hub/hub_fit.h"
#include "evomoe/hub/hub_import.h"
#include "evomoe/train/model_options.h"
#include "tests/hub/transformers_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class HuggingFace : public Transformers {
 protected:
  static void SetUpTestSuite() {
    if (!testing::has_transformers()) return;
    theirs_ = new testing::TemporaryFolder;
    const auto made = testing::run_command(
        fmt::format("{} {} make {}", python(), script(), theirs_->path().string()));
    if (made.exit_code != 0) ADD_FAILURE() << made.err;
  }
  static void TearDownTestSuite() {
    delete theirs_;
    theirs_ = nullptr;
  }

  /// All models, in order.
  static std::vector<std::string> names() {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(theirs_->path()))
      found.push_back(entry.path().filename().string());
    std::ranges::sort(found);
    return found;
  }

  /// A copy of a model, to be spoiled.
  fs::path copy_of(const std::string& name) {
    const auto to = folder_ / fmt::format("copy{}", ++copies_);
    fs::copy(*theirs_ / name, to);
    return to;
  }
  void change_config(const fs::path& model, const std::function<void(nlohmann::json&)>& change) {
    auto config = testing::read_json(model / "config.json");
    change(config);
    testing::write_text(model / "config.json", config.dump());
  }
  void change_tensors(const fs::path& model, const std::function<void(TensorMap&)>& change) {
    auto tensors = read_safetensors(model / "model.safetensors");
    change(tensors);
    write_safetensors(model / "model.safetensors", tensors);
  }
  void expect_import_refused(const fs::path& model, const std::vector<std::string>& words) {
    const auto output = folder_ / "refused";
    for (const auto& word : words) {
      EXPECT_THAT([&] { import_hub_model(model, "", output); },
                  ThrowsMessage<Error>(HasSubstr(word)));
    }
    EXPECT_FALSE(fs::exists(output));
  }

  inline static testing::TemporaryFolder* theirs_ = nullptr;
  int copies_ = 0;
};

TEST_F(HuggingFace, ModelsOfEveryArchitectureHaveTheSameLogitsHereAndBackThere) {
  std::map<std::string, int> of_architecture;
  torch::Tensor token_BS;
  std::vector<fs::path> written;
  std::vector<TensorMap> ours;
  for (const auto& name : names()) {
    SCOPED_TRACE(name);
    const auto expected = read_safetensors(*theirs_ / (name + "/expected.safetensors"));
    const auto run = folder_ / (name + "-run");
    import_hub_model(*theirs_ / name, "", run);
    const auto checkpoint = run / "checkpoint_last";
    expect_same_answers(our_answers(checkpoint, expected.at("tokens")), expected, name);

    const auto type =
        testing::read_json(*theirs_ / (name + "/config.json")).at("model_type").get<std::string>();
    written.push_back(folder_ / (name + "-back"));
    export_hub_model(checkpoint, written.back(), {.architecture = type});
    if (!token_BS.defined()) token_BS = expected.at("tokens");
    ours.push_back(our_answers(checkpoint, token_BS));
    ++of_architecture[type];
  }
  for (const auto& each : hub_architectures()) {
    if (each.family == HubFamily::kEvomoe) continue;  // evomoe_class_test.cpp
    EXPECT_GT(of_architecture[each.type], 0) << each.type;
  }
  const auto theirs = their_answers(written, token_BS);
  for (size_t i = 0; i < ours.size(); ++i)
    expect_same_answers(theirs[i], ours[i], written[i].filename().string());
}

TEST_F(HuggingFace, WhatGoesThereAndComesBackIsBitIdentical) {
  for (const std::string name :
       {"llama", "mixtral", "qwen3_moe_dense_layers", "qwen2_moe", "xglm", "gpt2_untied"}) {
    import_hub_model(*theirs_ / name, "", folder_ / name);
    const auto weights = name + "/checkpoint_last/model.safetensors";
    for (const int64_t shard_bytes : {int64_t{1} << 30, int64_t{10000}}) {
      const auto back = folder_ / fmt::format("{}-{}", name, shard_bytes);
      const auto files = export_hub_model(folder_ / (name + "/checkpoint_last"), back,
                                          {.shard_bytes = shard_bytes});
      EXPECT_EQ(files.size() > 3, shard_bytes == 10000);
      import_hub_model(back, "", back / "run");
      const auto first = read_safetensors(folder_ / weights);
      const auto second = read_safetensors(back / "run/checkpoint_last/model.safetensors");
      ASSERT_EQ(first.size(), second.size());
      for (const auto& [key, tensor] : first) EXPECT_TRUE(torch::equal(tensor, second.at(key)));
    }
  }
}

TEST_F(HuggingFace, HalfPrecisionIsThatOfTheWeights) {
  import_hub_model(*theirs_ / "olmoe", "", folder_ / "run");
  for (const auto& [dtype, type] :
       {std::pair{"float16", torch::kFloat16}, {"bfloat16", torch::kBFloat16}}) {
    export_hub_model(folder_ / "run/checkpoint_last", folder_ / dtype, {.dtype = dtype});
    const auto tensors = read_safetensors(folder_ / dtype / "model.safetensors");
    const auto whole = read_safetensors(*theirs_ / "olmoe/model.safetensors");
    const std::string name = "model.layers.1.self_attn.q_proj.weight";
    EXPECT_TRUE(torch::equal(tensors.at(name), whole.at(name).to(type)));
    EXPECT_EQ(testing::read_json(folder_ / dtype / "config.json").at("dtype").get<std::string>(),
              dtype);
  }
}

TEST_F(HuggingFace, WhatIsNotTheModelOfItsConfigIsNamed) {
  auto model = copy_of("llama");
  change_config(model, [](auto& c) { c["architectures"] = {"BloomForCausalLM"}; });
  expect_import_refused(model, {"BloomForCausalLM", "LlamaForCausalLM, MistralForCausalLM"});
  const std::vector<std::pair<std::function<void(nlohmann::json&)>, std::string>> configs = {
      {[](auto& c) { c.erase("hidden_size"); }, "`hidden_size` is missing"},
      {[](auto& c) { c["hidden_size"] = "24"; },
       "`hidden_size` is \"24\"; allowed is an integer of"},
      {[](auto& c) { c["residual_multiplier"] = 2; }, "residual_multiplier"},
      {[](auto& c) {
         c["quantization_config"] = {{"bits", 4}};
       },
       "quantised"},
      {[](auto& c) { c["mlp_bias"] = true; }, "`mlp_bias` is true"},
      {[](auto& c) { c["hidden_act"] = "tanh"; }, "`hidden_act` is \"tanh\""},
      {[](auto& c) {
         c["rope_parameters"] = {{"rope_type", "yarn"}, {"factor", 4}};
       },
       "\"yarn\""},
      {[](auto& c) { c["num_key_value_heads"] = 3; }, "--decoder-kv-heads 3"},
      {[](auto& c) { c["num_key_value_heads"] = 1; }, "k_proj.weight is [12, 24], and by"},
      {[](auto& c) { c["num_hidden_layers"] = 2; }, "unknown: model.layers.2"},
      {[](auto& c) { c["num_hidden_layers"] = 4; }, "missing: model.layers.3"},
      {[](auto& c) { c["num_hidden_layers"] = 1000000; }, "makes a model of"},
      {[](auto& c) { c["model_type"] = "olmoe"; }, "contradict each other"},
      {[](auto& c) { c["tie_word_embeddings"] = true; }, "ties the embeddings"}};
  for (const auto& [change, words] : configs) {
    model = copy_of("llama");
    change_config(model, change);
    expect_import_refused(model, {words});
  }
  model = copy_of("mixtral");
  change_config(model, [](auto& c) {
    c.erase("num_experts");
    c["num_local_experts"] = 3;
  });
  expect_import_refused(model, {"there are 3 experts", "has 4"});
  model = copy_of("llama");
  change_tensors(model, [](auto& tensors) {
    tensors.erase("model.norm.weight");
    tensors.erase("model.layers.0.mlp.up_proj.weight");
    tensors["model.layers.1.extra"] = torch::zeros({2});
    auto& tensor = tensors["lm_head.weight"];
    tensor = tensor.to(torch::kInt8);
  });
  expect_import_refused(model, {"missing: model.layers.0.mlp.up_proj.weight, model.norm.weight",
                                "unknown: model.layers.1.extra", "lm_head.weight is of Char"});
}

TEST_F(HuggingFace, ASharedExpertThatAGateWeighsIsRefused) {
  const auto model = copy_of("qwen2_moe");
  change_tensors(model, [](auto& tensors) {
    tensors["model.layers.1.mlp.shared_expert_gate.weight"] = torch::ones({1, 24});
  });
  expect_import_refused(model, {"model.layers.1.mlp.shared_expert_gate.weight is not zero"});
}

TEST_F(HuggingFace, TheFirstFilesOfGpt2HaveNoPrefix) {
  const auto model = copy_of("gpt2");
  change_tensors(model, [](auto& tensors) {
    TensorMap plain;
    for (const auto& [name, tensor] : tensors) plain[name.substr(name.find('.') + 1)] = tensor;
    plain["h.0.attn.bias"] = torch::ones({1, 1, 64, 64});
    tensors = plain;
  });
  const auto expected = read_safetensors(model / "expected.safetensors");
  import_hub_model(model, "", folder_ / "run");
  expect_same_answers(our_answers(folder_ / "run/checkpoint_last", expected.at("tokens")), expected,
                      "gpt2 without a prefix");
}

TEST_F(HuggingFace, OnlyTheFeedForwardWidthOfGpt2MayBeMissing) {
  auto model = copy_of("gpt2");
  change_config(model, [](auto& config) { config.erase("n_inner"); });
  const auto expected = read_safetensors(model / "expected.safetensors");
  import_hub_model(model, "", folder_ / "run");
  expect_same_answers(our_answers(folder_ / "run/checkpoint_last", expected.at("tokens")), expected,
                      "gpt2 without n_inner");
  model = copy_of("llama");
  change_config(model, [](auto& config) { config.erase("intermediate_size"); });
  expect_import_refused(model, {"`intermediate_size` is missing"});
}

TEST_F(HuggingFace, ShardsThatAreAbsentAreNamed) {
  auto model = copy_of("llama_sharded");
  std::vector<fs::path> shards;
  for (const auto& entry : fs::directory_iterator(model)) {
    if (entry.path().filename().string().starts_with("model-")) shards.push_back(entry.path());
  }
  ASSERT_GT(shards.size(), 2U);
  fs::remove(shards[0]);
  fs::remove(shards[1]);
  expect_import_refused(model, {shards[0].filename().string(), shards[1].filename().string()});
  fs::remove(model / "model.safetensors.index.json");
  expect_import_refused(model, {"neither model.safetensors nor", "save_pretrained"});
}

TEST_F(HuggingFace, ADictionaryOfAnotherSizeIsRefused) {
  testing::write_text(folder_ / "dict.txt", "a 1\nb 1\n");
  EXPECT_THAT([&] { import_hub_model(*theirs_ / "llama", folder_.path().string(), folder_ / "x"); },
              ThrowsMessage<Error>(HasSubstr("has 6 symbols, and the model")));
}

// These need no transformers.

GptOptions gpt_of(const std::string& arguments) {
  TrainOptions options;
  OptionTable table("train", "");
  options.describe(table);
  std::vector<std::string> words = {"data", "--batch-size", "1"};
  std::istringstream stream(arguments);
  for (std::string word; stream >> word;) words.push_back(word);
  table.parse(words);
  return gpt_options(options, 50, 1, /*shared_expert=*/false);
}

/// The architectures that a model of these arguments can be.
std::vector<std::string> fitting(const std::string& arguments) {
  std::vector<std::string> names;
  for (const auto& each : hub_architectures()) {
    if (what_hub_lacks(each, gpt_of(arguments)).empty()) names.push_back(each.type);
  }
  return names;
}

TEST(HubArchitecture, AModelIsWhatFitsExactly) {
  using ::testing::ElementsAre;
  EXPECT_THAT(fitting("--arch llama_tiny"), ElementsAre("llama", "mistral", "evomoe"));
  EXPECT_THAT(fitting("--arch llama_tiny --sliding-window 8"), ElementsAre("mistral", "evomoe"));
  EXPECT_THAT(fitting("--arch llama_tiny --attention-bias qkv"), ElementsAre("qwen2", "evomoe"));
  EXPECT_THAT(fitting("--arch llama_tiny --query-key-norm head"), ElementsAre("qwen3", "evomoe"));
  EXPECT_THAT(fitting("--arch mixtral_tiny"), ElementsAre("mixtral", "qwen2_moe", "evomoe"));
  EXPECT_THAT(fitting("--arch olmoe_tiny"), ElementsAre("olmoe", "evomoe"));
  EXPECT_THAT(fitting("--arch qwen3_moe_tiny"), ElementsAre("qwen3_moe", "evomoe"));
  EXPECT_THAT(fitting("--arch qwen3_moe_tiny --moe-first-dense-layers 1"),
              ElementsAre("qwen3_moe", "evomoe"));
  for (const auto* other :
       {"--arch mixtral_tiny --moe-freq 2", "--arch mixtral_tiny --moe-no-normalize-topk",
        "--arch mixtral_tiny --moe-shared-expert-hidden-dim 16",
        "--arch mixtral_tiny --attention-bias qkv"}) {
    EXPECT_THAT(fitting(other), ElementsAre("qwen2_moe", "evomoe")) << other;
  }
  for (const auto* ours :
       {"--arch transformer_lm_gpt2_tiny --moe-freq 2 --moe-expert-count 4",
        "--arch transformer_lm_gpt2_tiny --decoder-norm rms_norm",
        "--arch llama_tiny --decoder-norm layer_norm", "--arch olmoe_tiny --decoder-head-dim 8",
        "--arch mixtral_tiny --moe-train-capacity-token-fraction 1"}) {
    EXPECT_THAT(fitting(ours), ElementsAre("evomoe")) << ours;
  }
  for (const auto* none : {"--arch olmoe_tiny --moe-router sigmoid",
                           "--arch transformer_lm --adaptive-softmax-cutoff 10,20"}) {
    EXPECT_THAT(fitting(none), ::testing::IsEmpty()) << none;
  }
}

TEST(HubArchitecture, ADenseGptIsXglmOrWhatHasLearnedPositions) {
  using ::testing::ElementsAre;
  const std::string gpt = "--arch transformer_lm_gpt --activation-fn gelu ";
  EXPECT_THAT(fitting(gpt), ElementsAre("xglm", "gpt2", "evomoe"));
  EXPECT_THAT(fitting(gpt + "--decoder-learned-pos"), ElementsAre("biogpt", "gpt2", "evomoe"));
  EXPECT_THAT(fitting(gpt + "--no-token-positional-embeddings"), ElementsAre("evomoe"));
}

/// What counts is what a router does when nothing is trained.
TEST(HubArchitecture, RoutersAreWhatTheyDoInEvaluation) {
  const std::string model = "--arch llama_tiny --moe-freq 2 --moe-expert-count 4 ";
  const auto topk = [&](const std::string& router) {
    return evaluation_topk(gpt_of(model + router).moe.router);
  };
  const std::string all = " --moe-eval-capacity-token-fraction 1 ";
  const auto expect = [&](const std::string& router, int64_t k, bool normalized) {
    const auto found = topk(router);
    ASSERT_TRUE(found) << router;
    EXPECT_EQ(found->k, k) << router;
    EXPECT_EQ(found->normalized, normalized) << router;
  };
  expect("--moe-router switch" + all, 1, false);
  expect("--moe-router switch --moe-train-capacity-token-fraction 0", 1, false);
  expect("--moe-router gshard" + all, 2, true);
  expect("--moe-router topk --moe-k 3" + all, 3, true);
  expect("--moe-router topk --moe-no-normalize-topk" + all, 2, false);
  expect("--moe-router dts --moe-eval-capacity-token-fraction -1", 1, false);
  expect("--moe-router dts --dts-final-k 2 --dts-scale-weights" + all, 2, true);
  for (const std::string drops : {"switch", "gshard", "topk", "dts"})
    EXPECT_FALSE(topk("--moe-router " + drops)) << drops;
  EXPECT_FALSE(topk("--moe-router sigmoid"));
}

}  // namespace
}  // namespace evomoe
