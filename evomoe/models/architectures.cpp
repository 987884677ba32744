#include "evomoe/models/architectures.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

constexpr bool kSinusoidal = false, kLearned = true;

const std::vector<Architecture>& table() {
  // name, layers, d, ffn, heads, activation, positions, dropout, attention dropout, activation
  // dropout, tied
  static const std::vector<Architecture> architectures = {
      {"transformer_lm", 6, 512, 2048, 8, "relu", kSinusoidal, .1, .0, .0, false},
      {"transformer_lm_big", 12, 1024, 4096, 16, "relu", kSinusoidal, .1, .0, .0, false},
      {"transformer_lm_gpt", 12, 768, 3072, 12, "gelu", kSinusoidal, .1, .1, .0, false},
      {"transformer_lm_gptsmall_moe", 12, 768, 3072, 12, "gelu", kSinusoidal, .1, .1, .0, false},
      {"transformer_lm_gptmedium_moe", 24, 1024, 4096, 16, "gelu", kSinusoidal, .1, .1, .0, false},
      {"transformer_lm_gptxl_moe", 48, 1600, 6400, 25, "gelu", kSinusoidal, .1, .1, .0, false},
      {"transformer_lm_gpt2_tiny", 2, 64, 64, 1, "gelu", kSinusoidal, .1, .1, .0, false},
      {"transformer_lm_gpt2_small", 24, 1024, 4096, 16, "gelu", kSinusoidal, .1, .1, .0, false},
      {"transformer_lm_gpt2_medium", 36, 1280, 5120, 20, "gelu", kSinusoidal, .1, .1, .0, false},
      {"transformer_lm_gpt2_big", 40, 1600, 6400, 25, "gelu", kSinusoidal, .1, .1, .0, false},
      {"transformer_lm_gpt2_big_wide", 24, 2048, 8192, 32, "gelu", kSinusoidal, .1, .1, .0, false},
      {"transformer_lm_gpt2_bigger", 48, 2048, 8192, 32, "gelu", kSinusoidal, .1, .1, .0, false},
      {"transformer_lm_gpt3_small", 12, 768, 3072, 12, "gelu", kLearned, .0, .0, .0, true},
      {"transformer_lm_gpt3_medium", 24, 1024, 4096, 16, "gelu", kLearned, .0, .0, .0, true},
      {"transformer_lm_gpt3_large", 24, 1536, 6144, 16, "gelu", kLearned, .0, .0, .0, true},
      {"transformer_lm_gpt3_xl", 24, 2048, 8192, 32, "gelu", kLearned, .0, .0, .0, true},
      {"transformer_lm_gpt3_2_7", 32, 2560, 10240, 32, "gelu", kLearned, .0, .0, .0, true},
      {"transformer_lm_gpt3_6_7", 32, 4096, 16384, 32, "gelu", kLearned, .0, .0, .0, true},
      {"transformer_lm_gpt3_13", 40, 5120, 20480, 40, "gelu", kLearned, .0, .0, .0, true},
      {"transformer_lm_gpt3_175", 96, 12288, 49152, 96, "gelu", kLearned, .0, .0, .0, true},
  };
  return architectures;
}

const std::vector<std::string> kAdaptive = {"transformer_lm_wiki103",
                                            "transformer_lm_baevski_wiki103", "transformer_lm_gbw",
                                            "transformer_lm_baevski_gbw"};

}  // namespace

const Architecture& find_architecture(const std::string& name) {
  for (const auto& architecture : table()) {
    if (architecture.name == name) return architecture;
  }
  if (std::find(kAdaptive.begin(), kAdaptive.end(), name) != kAdaptive.end()) {
    fail_usage(
        "--arch {} needs adaptive input and softmax, which are not supported yet; use "
        "transformer_lm_big or another of: {}",
        name, fmt::join(architecture_names(), ", "));
  }
  fail_usage("--arch {} is not known; it may be one of: {}", name,
             fmt::join(architecture_names(), ", "));
}

std::vector<std::string> architecture_names() {
  std::vector<std::string> names;
  for (const auto& architecture : table()) names.push_back(architecture.name);
  return names;
}

}  // namespace evomoe
