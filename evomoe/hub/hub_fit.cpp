#include "evomoe/hub/hub_fit.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "evomoe/hub/evaluation_topk.h"
#include "evomoe/hub/evomoe_config.h"

namespace evomoe {
namespace {

/// What a model would have to be, where it is not.
class Lacks {
 public:
  void need(bool fits, std::string reason) {
    if (!fits) reasons_.push_back(std::move(reason));
  }
  const std::vector<std::string>& reasons() const { return reasons_; }

 private:
  std::vector<std::string> reasons_;
};

struct LayerKinds {
  bool any_moe = false, any_dense = false;
};

LayerKinds layer_kinds(const GptOptions& gpt) {
  LayerKinds kinds;
  for (int64_t i = 0; i < gpt.layers; ++i) (gpt.is_moe(i) ? kinds.any_moe : kinds.any_dense) = true;
  return kinds;
}

/// Of all families.
void need_common(const GptOptions& gpt, Lacks& lacks) {
  lacks.need(!gpt.adaptive_input.used() && !gpt.adaptive_softmax.bands.used(),
             "it has neither adaptive input nor adaptive softmax");
  lacks.need(gpt.norm_first, "it has a norm before each block (pre-LN)");
  lacks.need(gpt.dense_ffn_dim_of_moe_layers == 0, "all its feed-forward blocks are as wide");
}

void need_experts(const HubArchitecture& architecture, const GptOptions& gpt, Lacks& lacks) {
  const auto kinds = layer_kinds(gpt);
  if (!architecture.experts) return lacks.need(!kinds.any_moe, "it has no experts");
  lacks.need(kinds.any_moe, "it has experts");
  if (!kinds.any_moe) return;
  lacks.need(gpt.shared_expert_dim == 0 || architecture.shared_expert,
             "it has no shared expert (--moe-shared-expert-hidden-dim)");
  lacks.need(!kinds.any_dense || architecture.dense_layers,
             "it has experts in every layer (--moe-freq 1)");
  lacks.need(gpt.moe.gated && !gpt.moe.biases,
             "its experts are gated and have no biases (--gated-ffn --no-ffn-bias)");
  std::string why_not;
  const auto topk = evaluation_topk(gpt.moe.router, &why_not);
  lacks.need(topk.has_value(), why_not);
  lacks.need(!topk || topk->normalized || !architecture.always_normalized,
             "it divides the weights of a token by their sum (no --moe-no-normalize-topk; "
             "--dts-normalize-weights)");
}

std::string bias_words(const std::string& bias) {
  if (bias == "field") return "all or none";
  return bias == "qkv_field" ? "qkv or none" : bias;
}

void need_llama(const HubArchitecture& architecture, const GptOptions& gpt, Lacks& lacks) {
  lacks.need(gpt.norm.kind == NormKind::kRmsNorm,
             "its norms are RMS norms (--decoder-norm rms_norm)");
  lacks.need(gpt.final_norm && !gpt.embedding_norm,
             "it has a norm after the last block, and none on the embeddings");
  lacks.need(gpt.positions == PositionKind::kRotary,
             "its positions are rotary (--decoder-rotary-pos)");
  lacks.need(!gpt.scale_embedding, "its embeddings are not scaled (--no-scale-embedding)");
  lacks.need(gpt.query_key_norm == architecture.query_key_norm,
             fmt::format("its queries and keys are normed otherwise (--query-key-norm {})",
                         architecture.query_key_norm));
  const auto& has = gpt.attention_bias;
  const auto& bias = architecture.bias;
  lacks.need(bias == "field"       ? has == "all" || has == "none"
             : bias == "qkv_field" ? has == "qkv" || has == "none"
                                   : has == bias,
             fmt::format("its attention has other biases (--attention-bias {})", bias_words(bias)));
  lacks.need(gpt.attention().query_width() == gpt.embed_dim || architecture.head_dim,
             "its heads are as wide as --decoder-embed-dim / --decoder-attention-heads");
  lacks.need(architecture.type != "llama" || gpt.embed_dim % gpt.heads == 0,
             "its --decoder-embed-dim is a multiple of --decoder-attention-heads");
  lacks.need(gpt.window == 0 || architecture.window == "field" || architecture.window == "switch",
             "it has no --sliding-window");
  lacks.need(!layer_kinds(gpt).any_dense || (gpt.gated && !gpt.ffn_bias),
             "its feed-forward blocks are gated and have no biases (--gated-ffn --no-ffn-bias)");
  need_experts(architecture, gpt, lacks);
}

/// fairseq's decoder: XGLM, BioGPT, GPT-2.
void need_fairseq(const HubArchitecture& architecture, const GptOptions& gpt, Lacks& lacks) {
  const bool gpt2 = architecture.family == HubFamily::kGpt2;
  const auto attention = gpt.attention();
  lacks.need(gpt.norm.kind == NormKind::kLayerNorm,
             "its norms are layer norms (--decoder-norm layer_norm)");
  lacks.need(gpt2 || gpt.norm.eps == 1e-5, "its --norm-eps is 1e-5");
  lacks.need(gpt.final_norm && !gpt.embedding_norm,
             "it has a norm after the last block, and none on the embeddings");
  // A table of sinusoids can stand where learned ones do.
  const bool learned = gpt.positions == PositionKind::kLearned;
  const bool sinusoids = gpt.positions == PositionKind::kSinusoidal;
  lacks.need(gpt2                             ? learned || sinusoids
             : architecture.learned_positions ? learned
                                              : sinusoids,
             gpt2                             ? "its positions are learned or sinusoids"
             : architecture.learned_positions ? "its positions are learned (--decoder-learned-pos)"
                                              : "its positions are sinusoids");
  lacks.need(gpt.query_key_norm == "none", "its queries and keys are not normed");
  lacks.need(gpt.attention_bias == "all", "its attention has biases (--attention-bias all)");
  lacks.need(attention.query_width() == gpt.embed_dim && attention.key_width() == gpt.embed_dim,
             "its queries, keys and values are as wide as the model");
  lacks.need(gpt.window == 0, "it has no --sliding-window");
  lacks.need(!gpt.gated && gpt.ffn_bias,
             "its feed-forward blocks have biases and no gates (no --gated-ffn)");
  need_experts(architecture, gpt, lacks);
}

void need_evomoe(const GptOptions& gpt, Lacks& lacks) {
  lacks.need(gpt.padding_index == 1, "the number of its padding symbol is 1");
  if (!layer_kinds(gpt).any_moe) return;
  const auto& methods = evomoe_routers();
  lacks.need(std::ranges::find(methods, gpt.moe.router.method) != methods.end(),
             fmt::format("its --moe-router is {}, and not {}", fmt::join(methods, ", "),
                         gpt.moe.router.method));
}

}  // namespace

std::vector<std::string> what_hub_lacks(const HubArchitecture& architecture,
                                        const GptOptions& gpt) {
  Lacks lacks;
  need_common(gpt, lacks);
  switch (architecture.family) {
    case HubFamily::kLlama:
      need_llama(architecture, gpt, lacks);
      break;
    case HubFamily::kFairseq:
    case HubFamily::kGpt2:
      need_fairseq(architecture, gpt, lacks);
      break;
    case HubFamily::kEvomoe:
      need_evomoe(gpt, lacks);
      break;
  }
  return lacks.reasons();
}

}  // namespace evomoe
