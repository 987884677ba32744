#include "evomoe/plan/workload.h"

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

/// Multiply-adds of a token in the forward pass.
struct TokenWork {
  double forward = 0, recomputed = 0;
};

TokenWork work_of(const TransformerStackOptions& stack, const ExpertForm& form, double active,
                  int64_t columns) {
  const auto D = static_cast<double>(stack.embed_dim);
  TokenWork work;
  for (int64_t i = 0; i < stack.layers; ++i) {
    const double attention = attention_work(stack.attention(i), static_cast<double>(columns));
    work.forward += attention * (stack.cross_attention ? 2 : 1);
    if (stack.dense_ffn_dim(i) > 0)
      work.forward += static_cast<double>(expert_work(stack.dense_form(i)).forward);
    if (!stack.is_moe(i)) continue;
    const auto each = expert_work(form);
    work.forward += active * static_cast<double>(each.forward) +
                    D * static_cast<double>(stack.moe.router.num_experts);
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
  double madds = 0;
  int64_t head_width = 0;
  for (const auto& stack : stack_options(options, vocabulary, /*shared_expert=*/false)) {
    const ExpertForm form{.experts = stack.moe.router.num_experts,
                          .model_dim = stack.embed_dim,
                          .hidden_dim = stack.expert_dim(),
                          .gated = stack.moe.gated,
                          .biases = stack.moe.biases};
    const auto of_token = work_of(stack, form, active_experts, batch.columns);
    madds += 3 * of_token.forward + of_token.recomputed;
    work.blocks += stack.layers;
    work.width = head_width = stack.embed_dim;
    for (int64_t i = 0; i < stack.layers; ++i) {
      if (!stack.is_moe(i)) continue;
      work.experts = form.experts;
      work.exchanges += stack.checkpoint_activations ? 6 : 4;
    }
  }
  madds += 3 * static_cast<double>(vocabulary.target) * static_cast<double>(head_width);
  work.flops = 2 * madds * static_cast<double>(batch.tokens);
  work.active_experts = work.experts > 0 ? active_experts : 0;
  return work;
}

}  // namespace evomoe
