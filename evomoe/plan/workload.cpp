#include "evomoe/plan/workload.h"

#include <set>

#include "evomoe/base/error.h"
#include "evomoe/ops/expert_weights.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/optimizer_settings.h"

namespace evomoe {
namespace {

LargestBatch micro_batch_of(const TrainOptions& options) {
  LargestBatch batch;
  batch.columns = options.task.tokens_per_sample;
  const auto& limits = options.dataset;
  if (!limits.batch_size && !limits.max_tokens) {
    fail_usage("the size of a micro-batch is not known: give --batch-size or --max-tokens");
  }
  batch.tokens = limits.batch_size ? *limits.batch_size * batch.columns : *limits.max_tokens;
  if (limits.max_tokens) batch.tokens = std::min(batch.tokens, *limits.max_tokens);
  batch.columns = std::min(batch.columns, batch.tokens);
  batch.moe_tokens = batch.tokens;
  batch.predicted = batch.tokens;
  return batch;
}

/// Multiply-adds of a token.
struct TokenWork {
  double forward = 0;
  double recomputed = 0;  ///< of the forward pass, made again in the backward pass
  double frozen = 0;      ///< of the forward pass, by weights that need no gradient
};

TokenWork work_of(const TransformerStackOptions& stack, const ExpertForm& form, double active,
                  int64_t columns, const std::set<ParameterKind>& frozen) {
  const auto D = static_cast<double>(stack.embed_dim);
  TokenWork work;
  const auto add = [&](ParameterKind kind, double by_weights) {
    work.forward += by_weights;
    if (frozen.contains(kind)) work.frozen += by_weights;
  };
  for (int64_t i = 0; i < stack.layers; ++i) {
    const auto attention = stack.attention(i);
    const double attentions = stack.cross_attention ? 2 : 1;
    const auto projections =
        2 * D * static_cast<double>(attention.query_width() + attention.key_width());
    add(ParameterKind::kMatrix, attentions * projections);
    work.forward +=
        attentions * (attention_work(attention, static_cast<double>(columns)) - projections);
    if (stack.dense_ffn_dim(i) > 0)
      add(ParameterKind::kMatrix, static_cast<double>(expert_work(stack.dense_form(i)).forward));
    if (!stack.is_moe(i)) continue;
    const auto each = expert_work(form);
    add(ParameterKind::kExpert, active * static_cast<double>(each.forward));
    add(ParameterKind::kRouter, D * static_cast<double>(stack.moe.router.num_experts));
    if (stack.moe.recompute_experts) work.recomputed += active * static_cast<double>(each.hidden);
  }
  if (stack.checkpoint_activations) work.recomputed += work.forward;
  return work;
}

}  // namespace

Workload workload_of(const TrainOptions& options, const Vocabulary& vocabulary,
                     double active_experts) {
  const auto batch = micro_batch_of(options);
  Workload work;
  work.memory = family_of(options).memory(options, vocabulary, batch, state_bytes_of(options));
  work.tokens = batch.tokens;
  work.micro_batches = options.optimization.update_freq.front();
  const auto frozen = options.optimizer.frozen();
  double madds = 0;
  int64_t head_width = 0;
  for (const auto& stack : stack_options(options, vocabulary, /*shared_expert=*/false)) {
    const ExpertForm form{.experts = stack.moe.router.num_experts,
                          .model_dim = stack.embed_dim,
                          .hidden_dim = stack.expert_dim(),
                          .gated = stack.moe.gated,
                          .biases = stack.moe.biases};
    const auto of_token = work_of(stack, form, active_experts, batch.columns, frozen);
    madds += 3 * of_token.forward - of_token.frozen + of_token.recomputed;
    work.blocks += stack.layers;
    work.width = head_width = stack.embed_dim;
    for (int64_t i = 0; i < stack.layers; ++i) {
      if (!stack.is_moe(i)) continue;
      work.experts = form.experts;
      work.exchanges += stack.checkpoint_activations ? 6 : 4;
    }
  }
  const auto& model = options.model;
  const bool tied = model.share_decoder_input_output_embed.value_or(false) ||
                    model.share_all_embeddings.value_or(false);
  const bool head_is_frozen =
      frozen.contains(tied ? ParameterKind::kEmbedding : ParameterKind::kHead);
  madds += (head_is_frozen ? 2 : 3) * static_cast<double>(vocabulary.target) *
           static_cast<double>(head_width);
  work.flops = 2 * madds * static_cast<double>(batch.tokens);
  work.active_experts = work.experts > 0 ? active_experts : 0;
  return work;
}

}  // namespace evomoe
