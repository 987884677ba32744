#include "evomoe/hub/hub_fit.h"

#include <fmt/format.h>

#include "evomoe/routing/capacity.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe {

std::vector<std::string> what_hub_lacks(const HubArchitecture& architecture,
                                        const GptOptions& gpt) {
  std::vector<std::string> lacks;
  const auto need = [&](bool fits, const std::string& reason) {
    if (!fits) lacks.push_back(reason);
  };
  const auto attention = gpt.attention();
  need(gpt.norm.kind == NormKind::kRmsNorm, "its norms are RMS norms (--decoder-norm rms_norm)");
  need(gpt.norm_first && gpt.final_norm && !gpt.embedding_norm,
       "it has a norm before each block, after the last one, and none on the embeddings");
  need(gpt.positions == PositionKind::kRotary, "its positions are rotary (--decoder-rotary-pos)");
  need(!gpt.scale_embedding, "its embeddings are not scaled (--no-scale-embedding)");
  need(!gpt.adaptive_input.used() && !gpt.adaptive_softmax.bands.used(),
       "it has neither adaptive input nor adaptive softmax");
  need(gpt.query_key_norm == architecture.query_key_norm,
       fmt::format("its queries and keys are normed otherwise (--query-key-norm {})",
                   architecture.query_key_norm));
  const bool bias_fits = architecture.bias == "field"
                             ? gpt.attention_bias == "all" || gpt.attention_bias == "none"
                             : gpt.attention_bias == architecture.bias;
  need(bias_fits, fmt::format("its attention has other biases (--attention-bias {})",
                              architecture.bias == "field" ? "all or none" : architecture.bias));
  const bool plain_heads = attention.query_width() == gpt.embed_dim;
  need(plain_heads || architecture.head_dim,
       "its heads are as wide as --decoder-embed-dim / --decoder-attention-heads");
  need(architecture.type != "llama" || gpt.embed_dim % gpt.heads == 0,
       "its --decoder-embed-dim is a multiple of --decoder-attention-heads");
  need(gpt.window == 0 || architecture.window == "field" || architecture.window == "switch",
       "it has no --sliding-window");
  bool any_moe = false, any_dense = false;
  for (int64_t i = 0; i < gpt.layers; ++i) (gpt.is_moe(i) ? any_moe : any_dense) = true;
  need(!any_dense || (gpt.gated && !gpt.ffn_bias),
       "its feed-forward blocks are gated and have no biases (--gated-ffn --no-ffn-bias)");
  need(gpt.dense_ffn_dim_of_moe_layers == 0, "all its feed-forward blocks are as wide");
  if (!architecture.experts) {
    need(!any_moe, "it has no experts");
    return lacks;
  }
  need(gpt.shared_expert_dim == 0, "it has no shared expert (--moe-shared-expert-hidden-dim)");
  need(any_moe, "it has experts");
  if (!any_moe) return lacks;
  need(!any_dense || architecture.dense_layers, "it has experts in every layer (--moe-freq 1)");
  need(gpt.moe.gated && !gpt.moe.biases,
       "its experts are gated and have no biases (--gated-ffn --no-ffn-bias)");
  const auto& router = gpt.moe.router;
  need(router.method == "topk", "its router is --moe-router topk");
  if (router.method != "topk") return lacks;
  need(router.get<CapacityOptions>().train_factor <= 0,
       "it drops no tokens (--moe-train-capacity-token-fraction 0)");
  need(!architecture.always_normalized || !router.get<TopkOptions>().no_normalize,
       "it divides the weights of a token by their sum (no --moe-no-normalize-topk)");
  return lacks;
}

}  // namespace evomoe
