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
#include "evomoe/hub/hub_architecture.h"
#include "evomoe/hub/hub_export.h"
#include "evomoe/hub/hub_fit.h"
#include "evomoe/hub/hub_import.h"
#include "evomoe/loading/loaded_model.h"
#include "evomoe/train/model_options.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class HuggingFace : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (testing::run_command(python() + " -c 'import transformers, safetensors'").exit_code != 0)
      return;
    theirs_ = new testing::TemporaryFolder;
    const auto made = testing::run_command(
        fmt::format("{} {} make {}", python(), script(), theirs_->path().string()));
    if (made.exit_code != 0) ADD_FAILURE() << made.err;
  }
  static void TearDownTestSuite() {
    delete theirs_;
    theirs_ = nullptr;
  }
  void SetUp() override {
    if (theirs_ == nullptr) {
      GTEST_SKIP() << "no transformers in " << python()
                   << "; EVOMOE_PYTHON names a Python that has it";
    }
  }

  static std::string python() { return testing::python().string(); }
  static std::string script() {
    return (testing::source_dir() / "tests/hub/huggingface_models.py").string();
  }

  static torch::Tensor logits_of(const fs::path& checkpoint, const torch::Tensor& token_BS) {
    const torch::NoGradGuard no_grad;
    LoadOptions load;
    load.common.device = "cpu";
    auto model = load_model(checkpoint, load).language_model("a test");
    const auto x = model->forward(token_BS, ForwardContext()).x_BSD;
    return torch::matmul(x, model->output_weight().t());
  }

  static void expect_close(const torch::Tensor& found, const torch::Tensor& expected,
                           const std::string& name) {
    ASSERT_EQ(found.sizes(), expected.sizes()) << name;
    const auto scale = expected.abs().max().item<double>();
    EXPECT_GT(scale, 0.1) << name;
    EXPECT_LT((found - expected).abs().max().item<double>(), 1e-4 * scale) << name;
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
  testing::TemporaryFolder folder_;
  int copies_ = 0;
};

TEST_F(HuggingFace, ModelsOfEveryArchitectureHaveTheSameLogitsHereAndBackThere) {
  std::map<std::string, int> of_architecture;
  std::string written;
  torch::Tensor token_BS;
  std::map<std::string, torch::Tensor> ours;
  for (const auto& name : names()) {
    SCOPED_TRACE(name);
    const auto expected = read_safetensors(*theirs_ / (name + "/expected.safetensors"));
    const auto run = folder_ / (name + "-run");
    import_hub_model(*theirs_ / name, "", run);
    const auto checkpoint = run / "checkpoint_last";
    expect_close(logits_of(checkpoint, expected.at("tokens")), expected.at("logits"), name);

    const auto type =
        testing::read_json(*theirs_ / (name + "/config.json")).at("model_type").get<std::string>();
    const auto back = folder_ / (name + "-back");
    export_hub_model(checkpoint, back, {.architecture = type});
    if (!token_BS.defined()) token_BS = expected.at("tokens");
    ours[name] = logits_of(checkpoint, token_BS);
    written += " " + back.string();
    ++of_architecture[type];
  }
  for (const auto& type : hub_architecture_names()) EXPECT_GT(of_architecture[type], 0) << type;

  // All at once: what is slow is to start Python.
  const auto tokens = folder_ / "tokens.safetensors";
  write_safetensors(tokens, {{"tokens", token_BS}});
  const auto run = testing::run_command(
      fmt::format("{} {} logits {}{}", python(), script(), tokens.string(), written));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, ::testing::Not(HasSubstr("newly initialized")));
  for (const auto& [name, logits] : ours) {
    expect_close(read_safetensors(folder_ / (name + "-back/logits.safetensors")).at("logits"),
                 logits, name);
  }
}

TEST_F(HuggingFace, WhatGoesThereAndComesBackIsBitIdentical) {
  for (const std::string name : {"llama", "mixtral", "qwen3_moe_dense_layers"}) {
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
  change_config(model, [](auto& c) { c["architectures"] = {"GPT2LMHeadModel"}; });
  expect_import_refused(model, {"GPT2LMHeadModel", "LlamaForCausalLM, MistralForCausalLM"});
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
  EXPECT_THAT(fitting("--arch llama_tiny"), ElementsAre("llama", "mistral"));
  EXPECT_THAT(fitting("--arch llama_tiny --sliding-window 8"), ElementsAre("mistral"));
  EXPECT_THAT(fitting("--arch llama_tiny --attention-bias qkv"), ElementsAre("qwen2"));
  EXPECT_THAT(fitting("--arch llama_tiny --query-key-norm head"), ElementsAre("qwen3"));
  EXPECT_THAT(fitting("--arch mixtral_tiny"), ElementsAre("mixtral"));
  EXPECT_THAT(fitting("--arch olmoe_tiny"), ElementsAre("olmoe"));
  EXPECT_THAT(fitting("--arch qwen3_moe_tiny"), ElementsAre("qwen3_moe"));
  EXPECT_THAT(fitting("--arch qwen3_moe_tiny --moe-first-dense-layers 1"),
              ElementsAre("qwen3_moe"));
  for (const auto* none :
       {"--arch transformer_lm_gpt2_tiny", "--arch llama_tiny --decoder-norm layer_norm",
        "--arch olmoe_tiny --moe-router sigmoid", "--arch mixtral_tiny --moe-freq 2",
        "--arch mixtral_tiny --moe-train-capacity-token-fraction 1",
        "--arch mixtral_tiny --moe-no-normalize-topk", "--arch olmoe_tiny --decoder-head-dim 8"}) {
    EXPECT_THAT(fitting(none), ::testing::IsEmpty()) << none;
  }
}

}  // namespace
}  // namespace evomoe
