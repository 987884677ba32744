// Models of ours that no class of transformers is: our own class (modeling_evomoe.py) makes the
// same of them there.
#include <fmt/format.h>

#include <sstream>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/config/option_table.h"
#include "evomoe/hub/hub_config.h"
#include "evomoe/hub/hub_export.h"
#include "evomoe/hub/hub_import.h"
#include "evomoe/loading/run_folder.h"
#include "evomoe/loading/stored_state.h"
#include "evomoe/report/meters.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/trainer.h"
#include "tests/hub/transformers_fixture.h"
#include "tests/testing/tensor_memory.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class EvomoeClass : public Transformers {
 protected:
  /// Not all of them need a Python.
  void SetUp() override {}
  void need_transformers() { Transformers::SetUp(); }

  /// The checkpoint of a model with random weights.
  fs::path made(const std::string& arguments) {
    TrainOptions options;
    OptionTable table("train", "");
    options.describe(table);
    std::vector<std::string> words = {"data", "--batch-size", "1", "--tokens-per-sample", "32"};
    std::istringstream stream(arguments);
    for (std::string word; stream >> word;) words.push_back(word);
    table.parse(words);
    constexpr int64_t kSymbols = 41;
    Dictionary dictionary;
    for (int64_t i = dictionary.size(); i < kSymbols; ++i) dictionary.add(std::to_string(i));
    auto model = make_model(options, Vocabulary::of_one(kSymbols, Dictionary::kPad),
                            /*shared_expert=*/false);
    torch::manual_seed(++models_);
    Checkpoint checkpoint;
    for (const auto& [name, tensor] : named_state(*model)) {
      auto value = torch::randn_like(tensor) * 0.3;
      if (name.find("norm") != std::string::npos && name.ends_with("weight")) value += 1;
      checkpoint.model[name] = value.detach();
    }
    const auto run = folder_ / fmt::format("run{}", models_);
    options.data = run.string();
    checkpoint.state.config = stored_config(options);
    checkpoint.state.evolution =
        evolution_record(stage_at(options.evolution, /*completed_updates=*/0),
                         /*shared_expert=*/false);
    checkpoint.state.model = model_record(dictionary, dictionary);
    checkpoint.state.progress.meters = Metrics().state();
    fs::create_directories(run);
    write_run_folder(options, run);
    dictionary.save(run / "dict.txt");
    write_checkpoint(run / "checkpoint_last", checkpoint);
    return run / "checkpoint_last";
  }

  int models_ = 0;
};

const std::string kGpt =
    "--arch transformer_lm --decoder-layers 3 --decoder-embed-dim 24 --decoder-ffn-embed-dim 40 "
    "--decoder-attention-heads 4 --activation-fn gelu ";
const std::string kModern =
    "--arch llama_tiny --decoder-layers 3 --decoder-embed-dim 24 --decoder-ffn-embed-dim 40 "
    "--decoder-attention-heads 4 ";
const std::string kExperts = "--moe-freq 2 --moe-expert-count 4 ";

/// With experts that take every token, so that a token's logits depend on nothing else.
const std::vector<std::string>& without_drops() {
  static const std::string all = "--moe-eval-capacity-token-fraction 1 ";
  static const std::vector<std::string> models = {
      kGpt + "--no-scale-embedding --share-decoder-input-output-embed",
      kGpt + "--decoder-learned-pos --activation-fn relu",
      kGpt + "--no-token-positional-embeddings --no-decoder-final-norm --layernorm-embedding",
      kGpt + kExperts + "--moe-router switch --moe-train-capacity-token-fraction 0",
      kGpt + kExperts + "--moe-router topk --moe-k 3 " + all,
      kGpt +
          "--moe-freq 1 --moe-expert-count 5 --moe-first-dense-layers 1 --moe-router topk "
          "--moe-no-normalize-topk --activation-fn gelu_tanh " +
          all,
      kGpt + kExperts + "--moe-router gshard " + all,
      kGpt + kExperts + "--moe-router dts " + all,
      kGpt + kExperts + "--moe-router dts --dts-normalize-weights " + all,
      kGpt + kExperts + "--moe-router dts --dts-final-k 2 --dts-target-k 3 " + all,
      kGpt + kExperts + "--moe-router dts --dts-final-k 3 --dts-scale-weights " + all,
      kGpt + kExperts + "--moe-shared-expert-hidden-dim 12 --moe-expert-hidden-dim 20 " + all,
      kModern + kExperts + "--moe-router dts --query-key-norm width " + all,
      kModern +
          "--rotary-scaling llama3 --rotary-factor 4 --rotary-original-positions 16 "
          "--decoder-head-dim 8 --query-key-norm head --sliding-window 5 " +
          kExperts + "--moe-router switch " + all,
  };
  return models;
}

/// With a capacity in evaluation, for which tokens queue.
const std::vector<std::string>& with_drops() {
  static const std::vector<std::string> models = {
      kGpt + kExperts + "--moe-router switch",
      kGpt + kExperts + "--moe-router switch --moe-drop-policy probs",
      kGpt + kExperts +
          "--moe-router switch --moe-eval-capacity-token-fraction -1 "
          "--moe-train-capacity-token-fraction 1.3 --use-moe-pad-mask",
      kGpt + kExperts +
          "--moe-router topk --moe-eval-capacity-token-fraction -1 "
          "--moe-train-capacity-token-fraction 0.7",
      kGpt + kExperts + "--moe-router topk --moe-drop-policy probs",
      kGpt + kExperts + "--moe-router gshard",
      kGpt + kExperts +
          "--moe-router gshard --moe-eval-capacity-token-fraction -1 "
          "--moe-normalize-gate-prob-before-dropping",
      kGpt + kExperts + "--moe-router gshard --moe-batch-prioritized-routing",
      kGpt + kExperts + "--moe-router dts --moe-eval-capacity-token-fraction 0.3",
      kGpt + kExperts + "--moe-router dts --dts-final-k 2 --dts-scale-weights --use-moe-pad-mask",
  };
  return models;
}

/// And of what is exact in another class by how it is made: sinusoids and scaled embeddings as
/// tables of GPT-2.
TEST_F(EvomoeClass, TransformersMakesTheSameOfIt) {
  need_transformers();
  if (IsSkipped()) return;
  std::vector<std::pair<std::string, std::string>> models;
  for (const auto& list : {without_drops(), with_drops()}) {
    for (const auto& model : list) models.emplace_back(model, "evomoe");
  }
  const std::string tied = "--share-decoder-input-output-embed ";
  for (const auto& more :
       {std::string(), tied, tied + "--decoder-learned-pos --no-scale-embedding"})
    models.emplace_back(kGpt + more, "gpt2");
  torch::manual_seed(1);
  const auto token_BS = torch::randint(4, 41, {2, 13}, torch::kInt64);
  std::vector<fs::path> folders;
  std::vector<TensorMap> ours;
  for (const auto& [model, architecture] : models) {
    SCOPED_TRACE(model);
    const auto checkpoint = made(model);
    ours.push_back(our_answers(checkpoint, token_BS));
    folders.push_back(checkpoint.parent_path() / "hf");
    export_hub_model(checkpoint, folders.back(), {.architecture = architecture});
  }
  const auto theirs = their_answers(folders, token_BS);
  for (size_t i = 0; i < models.size(); ++i)
    expect_same_answers(theirs[i], ours[i], models[i].second + " " + models[i].first);
}

TEST_F(EvomoeClass, WhatItWritesItReads) {
  torch::manual_seed(1);
  const auto token_BS = torch::randint(4, 41, {2, 13}, torch::kInt64);
  std::vector<std::string> models = without_drops();
  models.insert(models.end(), with_drops().begin(), with_drops().end());
  for (const auto& model : models) {
    SCOPED_TRACE(model);
    const auto checkpoint = made(model);
    const auto folder = checkpoint.parent_path() / "hf", back = checkpoint.parent_path() / "back";
    export_hub_model(checkpoint, folder, {.architecture = "evomoe"});
    import_hub_model(folder, "", back);
    const auto before = our_answers(checkpoint, token_BS);
    const auto after = our_answers(back / "checkpoint_last", token_BS);
    for (const auto& [name, tensor] : before)
      EXPECT_TRUE(torch::equal(tensor, after.at(name))) << name;
  }
}

TEST_F(EvomoeClass, IsWrittenWhereNoOtherFits) {
  const auto type_of = [&](const std::string& model, const std::string& architecture) {
    const auto checkpoint = made(model);
    const auto folder = checkpoint.parent_path() / "hf";
    export_hub_model(checkpoint, folder, {.architecture = architecture});
    const bool with_code = fs::exists(folder / "modeling_evomoe.py");
    const auto type =
        testing::read_json(folder / "config.json").at("model_type").get<std::string>();
    EXPECT_EQ(with_code, type == "evomoe") << model;
    return type;
  };
  EXPECT_EQ(type_of(kGpt + kExperts, ""), "evomoe");
  EXPECT_EQ(type_of(kGpt, ""), "xglm");
  EXPECT_EQ(type_of(kGpt + "--decoder-learned-pos", ""), "biogpt");
  EXPECT_EQ(type_of(kGpt, "evomoe"), "evomoe");
  EXPECT_EQ(
      type_of(kModern + kExperts + "--moe-router dts --moe-eval-capacity-token-fraction -1", ""),
      "qwen2_moe");
}

TEST_F(EvomoeClass, WhatAConfigLeavesOutIsAsItsClassHasIt) {
  struct Case {
    std::string model, architecture;
    std::vector<std::string> left_out;
    int64_t positions, width;
    std::string activation;
  };
  const std::vector<std::string> names = {"max_position_embeddings", "hidden_act"};
  for (const auto& each : {Case{kModern, "llama", names, 2048, 40, "silu"},
                           Case{kModern, "mistral", names, 131072, 40, "silu"},
                           Case{kGpt,
                                "gpt2",
                                {"n_positions", "activation_function", "n_inner"},
                                1024,
                                4 * 24,
                                "gelu_tanh"}}) {
    SCOPED_TRACE(each.architecture);
    const auto folder = folder_ / each.architecture;
    export_hub_model(made(each.model), folder, {.architecture = each.architecture});
    auto config = testing::read_json(folder / "config.json");
    for (const auto& name : each.left_out) EXPECT_EQ(config.erase(name), 1U) << name;
    testing::write_text(folder / "config.json", config.dump());
    const auto options = read_hub_config(folder).options.model;
    EXPECT_EQ(options.decoder.layers, 3);
    EXPECT_EQ(options.decoder.embed_dim, 24);
    EXPECT_EQ(options.decoder.attention_heads, 4);
    EXPECT_EQ(options.decoder.ffn_embed_dim, each.width);
    EXPECT_EQ(options.max_target_positions, each.positions);
    EXPECT_EQ(options.activation_fn, each.activation);
  }
}

/// GPT-2's tensors are no views of ours: queries, keys and values are joined, tables scaled, rows
/// in another order.
TEST_F(EvomoeClass, AnExportHoldsTheTensorsOfOneFile) {
  const auto checkpoint = made(
      "--arch transformer_lm --decoder-layers 12 --decoder-embed-dim 24 --decoder-ffn-embed-dim 40 "
      "--decoder-attention-heads 4 --activation-fn gelu --max-target-positions 32");
  constexpr int64_t kShard = 16 << 10;
  const testing::TensorMemory memory;
  const auto files = export_hub_model(checkpoint, checkpoint.parent_path() / "hf",
                                      {.architecture = "gpt2", .shard_bytes = kShard});
  EXPECT_GT(files.size(), 10U);
  EXPECT_GT(memory.peak(), kShard / 2);
  EXPECT_LT(memory.peak(), 4 * kShard);
}

TEST_F(EvomoeClass, WhatItDoesNotKnowIsRefusedByName) {
  const auto refused = made(kGpt + kExperts + "--moe-router sigmoid");
  EXPECT_THAT([&] { export_hub_model(refused, folder_ / "x", {.architecture = "evomoe"}); },
              ThrowsMessage<UsageError>(HasSubstr("switch, topk, gshard, dts, and not sigmoid")));
  EXPECT_THAT([&] { export_hub_model(refused, folder_ / "x", {}); },
              ThrowsMessage<UsageError>(HasSubstr("evomoe: its --moe-router is")));

  const auto checkpoint = made(kGpt + kExperts);
  const auto folder = checkpoint.parent_path() / "hf";
  export_hub_model(checkpoint, folder, {});
  const auto config = testing::read_json(folder / "config.json");
  const auto expect = [&](const std::string& field, const nlohmann::json& value,
                          const std::string& words) {
    auto changed = config;
    changed[nlohmann::json::json_pointer(field)] = value;
    testing::write_text(folder / "config.json", changed.dump());
    EXPECT_THAT([&] { import_hub_model(folder, "", folder_ / "y"); },
                ThrowsMessage<Error>(HasSubstr(words)))
        << field;
  };
  expect("/positions", "alibi", "`positions` is \"alibi\"; allowed is none, learned, sinusoidal");
  expect("/router/method", "hash", "`method` is \"hash\"; allowed is switch, topk, gshard, dts");
  expect("/router/noise", 1, "what noise means is not known");
  expect("/padding_index", 0, "`padding_index` is 0; allowed is 1");
  expect("/num_experts", 3, "different: model.layers.1.moe_layer");
}

}  // namespace
}  // namespace evomoe
