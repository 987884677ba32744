// config.json of a model of transformers, and its index of shards.
#include "evomoe/base/error.h"
#include "evomoe/hub/hub_config.h"
#include "evomoe/hub/hub_files.h"
#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

std::vector<std::string> hub_config_seeds(const std::filesystem::path&) {
  return {R"({"architectures":["Qwen3MoeForCausalLM"],"model_type":"qwen3_moe","vocab_size":41,)"
          R"("hidden_size":24,"intermediate_size":40,"moe_intermediate_size":40,)"
          R"("num_hidden_layers":3,"num_attention_heads":4,"head_dim":8,"num_experts":4,)"
          R"("num_experts_per_tok":2,"mlp_only_layers":[0],"use_sliding_window":true,)"
          R"("sliding_window":6,"rope_parameters":{"rope_type":"llama3","rope_theta":500.0,)"
          R"("factor":4.0,"low_freq_factor":1.0,"high_freq_factor":4.0}})",
          R"({"model_type":"llama","vocab_size":41,"hidden_size":24,"intermediate_size":40,)"
          R"("num_hidden_layers":3,"num_attention_heads":4,"rope_theta":1e4,)"
          R"("rope_scaling":{"type":"linear","factor":2}})",
          R"({"metadata":{},"weight_map":{"lm_head.weight":"model-00001-of-00002.safetensors"}})"};
}

void read_config(const std::filesystem::path& folder, const std::string& bytes) {
  testing::write_text(folder / "model.safetensors.index.json", bytes);
  try {
    read_hub_files(folder);
  } catch (const Error&) {
    // There are no shards.
  }
  testing::write_text(folder / "config.json", bytes);
  read_hub_config(folder);
}

const Registration registration("hub_config", {hub_config_seeds, read_config});

}  // namespace
}  // namespace evomoe::fuzz
