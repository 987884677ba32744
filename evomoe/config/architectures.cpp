#include "evomoe/config/architectures.h"

#include <fmt/ranges.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

constexpr bool kSinusoidal = false, kLearned = true;
constexpr auto kLm = ModelFamily::kLanguageModel, kRoberta = ModelFamily::kRoberta,
               kPair = ModelFamily::kEncoderDecoder;
constexpr bool kUntied = false, kTied = true, kPostNorm = false, kPreNorm = true;
constexpr bool kPlain = false, kNormed = true, kNoFinalNorm = false;

const std::vector<Architecture>& table() {
  // name, family, layers, d, ffn, heads, activation, positions, dropout, attention dropout,
  // activation dropout, tied, norms of: layers, embeddings, the end; cutoffs,
  // dropout of the adaptive softmax
  // clang-format off
  static const std::vector<Architecture> architectures = {
      {"transformer_lm", kLm, 6, 512, 2048, 8, "relu", kSinusoidal, .1, .0, .0, kUntied},
      {"transformer_lm_big", kLm, 12, 1024, 4096, 16, "relu", kSinusoidal, .1, .0, .0, kUntied},
      {"transformer_lm_gpt", kLm, 12, 768, 3072, 12, "gelu", kSinusoidal, .1, .1, .0, kUntied},
      {"transformer_lm_gptsmall_moe", kLm, 12, 768, 3072, 12, "gelu", kSinusoidal, .1, .1, .0, kUntied},
      {"transformer_lm_gptmedium_moe", kLm, 24, 1024, 4096, 16, "gelu", kSinusoidal, .1, .1, .0, kUntied},
      {"transformer_lm_gptxl_moe", kLm, 48, 1600, 6400, 25, "gelu", kSinusoidal, .1, .1, .0, kUntied},
      {"transformer_lm_gpt2_tiny", kLm, 2, 64, 64, 1, "gelu", kSinusoidal, .1, .1, .0, kUntied},
      {"transformer_lm_gpt2_small", kLm, 24, 1024, 4096, 16, "gelu", kSinusoidal, .1, .1, .0, kUntied},
      {"transformer_lm_gpt2_medium", kLm, 36, 1280, 5120, 20, "gelu", kSinusoidal, .1, .1, .0, kUntied},
      {"transformer_lm_gpt2_big", kLm, 40, 1600, 6400, 25, "gelu", kSinusoidal, .1, .1, .0, kUntied},
      {"transformer_lm_gpt2_big_wide", kLm, 24, 2048, 8192, 32, "gelu", kSinusoidal, .1, .1, .0, kUntied},
      {"transformer_lm_gpt2_bigger", kLm, 48, 2048, 8192, 32, "gelu", kSinusoidal, .1, .1, .0, kUntied},
      {"transformer_lm_gpt3_small", kLm, 12, 768, 3072, 12, "gelu", kLearned, .0, .0, .0, kTied},
      {"transformer_lm_gpt3_medium", kLm, 24, 1024, 4096, 16, "gelu", kLearned, .0, .0, .0, kTied},
      {"transformer_lm_gpt3_large", kLm, 24, 1536, 6144, 16, "gelu", kLearned, .0, .0, .0, kTied},
      {"transformer_lm_gpt3_xl", kLm, 24, 2048, 8192, 32, "gelu", kLearned, .0, .0, .0, kTied},
      {"transformer_lm_gpt3_2_7", kLm, 32, 2560, 10240, 32, "gelu", kLearned, .0, .0, .0, kTied},
      {"transformer_lm_gpt3_6_7", kLm, 32, 4096, 16384, 32, "gelu", kLearned, .0, .0, .0, kTied},
      {"transformer_lm_gpt3_13", kLm, 40, 5120, 20480, 40, "gelu", kLearned, .0, .0, .0, kTied},
      {"transformer_lm_gpt3_175", kLm, 96, 12288, 49152, 96, "gelu", kLearned, .0, .0, .0, kTied},
      {"transformer_lm_wiki103", kLm, 16, 1024, 4096, 8, "relu", kSinusoidal, .3, .1, .1, kUntied,
       kPreNorm, kPlain, kNoFinalNorm, {20000, 60000}, .2},
      {"transformer_lm_baevski_wiki103", kLm, 16, 1024, 4096, 8, "relu", kSinusoidal, .3, .1, .1,
       kUntied, kPreNorm, kPlain, kNoFinalNorm, {20000, 60000}, .2},
      {"transformer_lm_gbw", kLm, 12, 512, 4096, 16, "relu", kSinusoidal, .1, .1, .0, kUntied,
       kPreNorm, kPlain, kNoFinalNorm},
      {"transformer_lm_baevski_gbw", kLm, 12, 512, 4096, 16, "relu", kSinusoidal, .1, .1, .0,
       kUntied, kPreNorm, kPlain, kNoFinalNorm},
      {"roberta", kRoberta, 12, 768, 3072, 12, "gelu", kLearned, .1, .1, .0, kTied, kPostNorm,
       kNormed},
      {"roberta_base", kRoberta, 12, 768, 3072, 12, "gelu", kLearned, .1, .1, .0, kTied, kPostNorm,
       kNormed},
      {"roberta_prenorm", kRoberta, 12, 768, 3072, 12, "gelu", kLearned, .1, .1, .0, kTied,
       kPreNorm, kPlain},
      {"roberta_large", kRoberta, 24, 1024, 4096, 16, "gelu", kLearned, .1, .1, .0, kTied,
       kPostNorm, kNormed},
      {"roberta_large_moe", kRoberta, 24, 1024, 4096, 16, "gelu", kLearned, .1, .1, .0, kTied,
       kPostNorm, kNormed},
      {"roberta_xl", kRoberta, 48, 1600, 6400, 25, "gelu", kLearned, .1, .1, .0, kTied, kPostNorm,
       kNormed},
      {"xlm", kRoberta, 16, 1280, 5120, 16, "gelu", kLearned, .1, .1, .0, kTied, kPostNorm,
       kNormed},
      {"transformer", kPair, 6, 512, 2048, 8, "relu", kSinusoidal, .1, .0, .0, kUntied, kPostNorm},
      {"transformer_tiny", kPair, 2, 64, 64, 2, "relu", kSinusoidal, .1, .0, .0, kUntied,
       kPostNorm},
      {"transformer_iwslt_de_en", kPair, 6, 512, 1024, 4, "relu", kSinusoidal, .1, .0, .0, kUntied,
       kPostNorm},
      {"transformer_iwslt_de_en_moe", kPair, 6, 512, 1024, 4, "relu", kSinusoidal, .1, .0, .0,
       kUntied, kPostNorm},
      {"transformer_wmt_en_de", kPair, 6, 512, 2048, 8, "relu", kSinusoidal, .1, .0, .0, kUntied,
       kPostNorm},
      {"transformer_vaswani_wmt_en_de_big", kPair, 6, 1024, 4096, 16, "relu", kSinusoidal, .3, .0,
       .0, kUntied, kPostNorm},
      {"transformer_vaswani_wmt_en_fr_big", kPair, 6, 1024, 4096, 16, "relu", kSinusoidal, .1, .0,
       .0, kUntied, kPostNorm},
      {"transformer_wmt_en_de_big", kPair, 6, 1024, 4096, 16, "relu", kSinusoidal, .3, .1, .0,
       kUntied, kPostNorm},
      {"transformer_wmt_en_de_big_t2t", kPair, 6, 1024, 4096, 16, "relu", kSinusoidal, .3, .1, .1,
       kUntied, kPreNorm},
  };
  return architectures;
}

}  // namespace

const Architecture& find_architecture(const std::string& name) {
  for (const auto& architecture : table()) {
    if (architecture.name == name) return architecture;
  }
  fail_usage("--arch {} is not known; it may be one of: {}", name,
             fmt::join(architecture_names(), ", "));
}

std::vector<std::string> architecture_names() {
  std::vector<std::string> names;
  for (const auto& architecture : table()) names.push_back(architecture.name);
  return names;
}

std::vector<std::string> architecture_names(ModelFamily family) {
  std::vector<std::string> names;
  for (const auto& architecture : table()) {
    if (architecture.family == family) names.push_back(architecture.name);
  }
  return names;
}

std::string task_of_family(ModelFamily family) {
  switch (family) {
    case ModelFamily::kLanguageModel: return "language_modeling";
    case ModelFamily::kRoberta: return "masked_lm";
    case ModelFamily::kEncoderDecoder: return "translation";
  }
  fail("there is no such family of models");
}

ModelFamily family_of_task(const std::string& task) {
  if (task == "language_modeling") return ModelFamily::kLanguageModel;
  if (task == "translation") return ModelFamily::kEncoderDecoder;
  return ModelFamily::kRoberta;  // masked_lm, sentence_prediction
}

std::string family_words(ModelFamily family) {
  switch (family) {
    case ModelFamily::kLanguageModel: return "a language model";
    case ModelFamily::kRoberta: return "a masked language model";
    case ModelFamily::kEncoderDecoder: return "an encoder-decoder";
  }
  fail("there is no such family of models");
}

}  // namespace evomoe
