#include "evomoe/train/model_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "evomoe/train/model_family.h"
#include "evomoe/train/task.h"

namespace evomoe {

void fill_stack(TransformerStackOptions& stack, const TrainOptions& options,
                const Architecture& architecture, int64_t padding_index, bool shared_expert) {
  const auto& model = options.model;
  const auto& moe = options.moe;
  stack.padding_index = padding_index;
  stack.activation = model.activation_fn.value_or(architecture.activation);
  stack.dropout = model.dropout.value_or(architecture.dropout);
  stack.attention_dropout = model.attention_dropout.value_or(architecture.attention_dropout);
  stack.activation_dropout = model.activation_dropout.value_or(architecture.activation_dropout);
  stack.checkpoint_activations = model.checkpoint_activations;
  stack.moe.recompute_experts = moe.recompute_experts;
  stack.moe.shared_expert = shared_expert;
  stack.embedding_norm = model.layernorm_embedding.value_or(architecture.embedding_norm);
}

namespace {

PositionKind position_kind(const ModelOptions& model, const HalfOptions& half,
                           PositionKind of_architecture) {
  if (model.no_token_positional_embeddings.value_or(false)) return PositionKind::kNone;
  if (!half.learned_pos) return of_architecture;
  if (*half.learned_pos) return PositionKind::kLearned;
  return of_architecture == PositionKind::kLearned ? PositionKind::kSinusoidal : of_architecture;
}

/// `moe_freq` and `alternate_ffn_dim` are those of this half alone.
void fill_half(TransformerStackOptions& stack, const HalfOptions& half, int64_t moe_freq,
               int64_t alternate_ffn_dim, const TrainOptions& options,
               const Architecture& architecture) {
  stack.layers = half.layers.value_or(architecture.layers);
  stack.embed_dim = half.embed_dim.value_or(architecture.embed_dim);
  stack.ffn_dim = half.ffn_embed_dim.value_or(architecture.ffn_dim);
  stack.heads = half.attention_heads.value_or(architecture.heads);
  stack.positions = position_kind(options.model, half, architecture.positions);
  stack.moe_freq = std::max(options.moe.moe_freq, moe_freq);
  stack.first_dense_layers = options.moe.moe_first_dense_layers;
  stack.dense_ffn_dim_of_moe_layers = alternate_ffn_dim;
  stack.moe.router = router_options(options, stack.embed_dim);
  stack.moe.hidden_dim = options.moe.moe_expert_hidden_dim;
  stack.shared_expert_dim = options.moe.moe_shared_expert_hidden_dim;
}

}  // namespace

void fill_decoder(TransformerStackOptions& stack, const TrainOptions& options,
                  const Architecture& architecture) {
  fill_half(stack, options.model.decoder, options.moe.decoder_moe_freq,
            options.moe.alternate_decoder_ffn_embed_dim, options, architecture);
}

void fill_encoder(TransformerStackOptions& stack, const TrainOptions& options,
                  const Architecture& architecture) {
  const auto& encoder = options.model.encoder;
  fill_half(stack, encoder, options.moe.encoder_moe_freq, options.moe.alternate_ffn_embed_dim,
            options, architecture);
  stack.norm_first = encoder.normalize_before.value_or(architecture.norm_first);
  stack.final_norm = stack.norm_first;
}

OptionValues form_values(const TransformerStackOptions& stack) {
  const auto attention = stack.attention();
  const auto text = [](const auto& value) { return fmt::format("{}", value); };
  OptionValues values = {
      {"decoder-norm", stack.norm.kind == NormKind::kRmsNorm ? "rms_norm" : "layer_norm"},
      {"norm-eps", text(stack.norm.eps)},
      {"gated-ffn", text(stack.gated)},
      {"no-ffn-bias", text(!stack.ffn_bias)},
      {"attention-bias", stack.attention_bias},
      {"decoder-kv-heads", text(attention.key_heads())},
      {"decoder-head-dim", text(attention.head_width())},
      {"query-key-norm", stack.query_key_norm},
      {"sliding-window", text(stack.window)}};
  const bool rotary = stack.positions == PositionKind::kRotary;
  values.emplace_back("decoder-rotary-pos", text(rotary));
  if (!rotary) return values;
  values.emplace_back("rotary-base", text(stack.rotary.base));
  values.emplace_back("rotary-scaling", stack.rotary.scaling);
  if (stack.rotary.scaling == "default") return values;
  values.emplace_back("rotary-factor", text(stack.rotary.factor));
  if (stack.rotary.scaling == "linear") return values;
  values.emplace_back("rotary-low-factor", text(stack.rotary.low_factor));
  values.emplace_back("rotary-high-factor", text(stack.rotary.high_factor));
  values.emplace_back("rotary-original-positions", text(stack.rotary.original_positions));
  return values;
}

std::vector<std::string> beyond_reference(const TransformerStackOptions& stack) {
  TransformerStackOptions plain;
  plain.embed_dim = stack.embed_dim;
  plain.heads = stack.heads;
  if (stack.embed_dim % stack.heads != 0) plain.embed_dim = stack.heads;  // it has no such heads
  const auto of_reference = form_values(plain);
  std::vector<std::string> flags;
  for (const auto& [name, value] : form_values(stack)) {
    const bool same = std::ranges::find(of_reference, std::pair(name, value)) != of_reference.end();
    if (!same) flags.push_back(value == "true" ? "--" + name : fmt::format("--{} {}", name, value));
  }
  if (stack.moe_freq > 0 && stack.first_dense_layers > 0)
    flags.push_back(fmt::format("--moe-first-dense-layers {}", stack.first_dense_layers));
  return flags;
}

RouterOptions router_options(const TrainOptions& options, int64_t embed_dim) {
  return {{.method = options.moe.moe_router,
           .model_dim = embed_dim,
           .num_experts = options.moe.moe_expert_count,
           .z_loss_weight = options.criterion.moe_z_loss_wt,
           .balance_scope = options.moe.moe_balance_scope},
          options.routers};
}

bool has_causal_experts(const TrainOptions& options) {
  const auto& moe = options.moe;
  return family_of_task(options.task.task).decoder &&
         std::max(moe.moe_freq, moe.decoder_moe_freq) > 0 &&
         moe.alternate_decoder_ffn_embed_dim == 0;
}

bool has_experts(const TrainOptions& options) {
  const auto& moe = options.moe;
  const auto& family = family_of_task(options.task.task);
  const bool encoder = family.encoder && std::max(moe.moe_freq, moe.encoder_moe_freq) > 0 &&
                       moe.alternate_ffn_embed_dim == 0;
  return encoder || has_causal_experts(options);
}

std::vector<TransformerStackOptions> stack_options(const TrainOptions& options,
                                                   const Vocabulary& vocabulary,
                                                   bool shared_expert) {
  return family_of(options).stacks(options, vocabulary, shared_expert);
}

ModelPtr make_model(const TrainOptions& options, const Vocabulary& vocabulary, bool shared_expert) {
  return family_of(options).make(options, vocabulary, shared_expert);
}

void check_model(const TrainOptions& options) {
  family_of(options).check(options);
  find_task(options.task.task).check(options);
}

int64_t embed_dim_of(const TrainOptions& options) {
  const auto& half = family_of(options).main_half(options.model);
  return half.embed_dim.value_or(architecture_of(options).embed_dim);
}

int64_t longest_item(const TrainOptions& options) {
  const auto& family = family_of(options);
  auto model = options.model;
  return family.positions(model).value_or(family.default_positions(options));
}

std::vector<std::string> positions_options(const TrainOptions& options) {
  std::vector<std::string> names = {"--" + family_of(options).positions_option()};
  if (reads_pairs(options)) names.insert(names.begin(), "--max-source-positions");
  return names;
}

bool reads_pairs(const TrainOptions& options) {
  const auto& family = family_of_task(options.task.task);
  return family.encoder && family.decoder;
}

int64_t longest_source(const TrainOptions& options) {
  return options.model.max_source_positions.value_or(kPairPositions);
}

void lower_positions(TrainOptions& options, const TrainOptions& other) {
  auto& model = options.model;
  model.max_source_positions = std::min(longest_source(options), longest_source(other));
  const auto longest = std::min(longest_item(options), longest_item(other));
  family_of(options).positions(model) = longest;
}

}  // namespace evomoe
