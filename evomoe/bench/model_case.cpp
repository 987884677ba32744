#include "evomoe/bench/model_case.h"

#include <cmath>
#include <numeric>

#include "evomoe/base/error.h"
#include "evomoe/bench/balanced_router.h"
#include "evomoe/bench/hash_data.h"
#include "evomoe/models/parameter_kinds.h"
#include "evomoe/models/positions.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe::bench {
namespace {

// Streams: batch n of tokens is kTokens + n; matrix p of layer l is kLayer + 20 l + p.
constexpr uint64_t kEmbedding = 1000, kPositions = 1001, kLayer = 2000, kTokens = 100000;
constexpr uint64_t kQueryKeyValue = 0, kAttentionOutput = 1, kRouter = 2, kFc1 = 3, kFc2 = 4;

double inverse_sqrt(int64_t n) { return 1.0 / std::sqrt(static_cast<double>(n)); }

/// Sets each parameter by its name and checks that none is left out.
class ParameterFiller {
 public:
  explicit ParameterFiller(const torch::nn::Module& model) {
    for (const auto& item : model.named_parameters()) left_[item.key()] = item.value();
    kinds_ = parameter_kinds(model);
  }
  void set(const std::string& name, const torch::Tensor& value) { take(name).copy_(value); }
  void set(const std::string& name, uint64_t tag, double scale) {
    auto parameter = take(name);
    parameter.copy_(hash_tensor(tag, parameter.sizes(), scale));
  }
  /// The LayerNorms' weights and all biases.
  void set_rest() {
    for (auto& [name, parameter] : left_) {
      const bool norm_weight = name.ends_with("layer_norm.weight");
      const bool of_experts = kinds_.at(name) == ParameterKind::kExpert;
      EVOMOE_CHECK(norm_weight || parameter.dim() == (of_experts ? 2 : 1),
                   "the test data has no values for the parameter {}", name);
      parameter.fill_(norm_weight ? 1.0 : 0.0);
    }
  }

 private:
  torch::Tensor take(const std::string& name) {
    const auto found = left_.find(name);
    EVOMOE_CHECK(found != left_.end(), "the model has no parameter {}", name);
    auto parameter = found->second;
    left_.erase(found);
    return parameter;
  }
  std::map<std::string, torch::Tensor> left_;
  std::map<std::string, ParameterKind> kinds_;
};

}  // namespace

std::string ModelCase::label() const {
  return fmt::format("L{}-d{}-h{}-f{}-E{}-k{}-every{}-V{}-T{}-B{}", layers, dim, heads, ffn,
                     experts, topk, moe_freq, vocab, seq, batch);
}

int64_t ModelCase::active_matrix_parameters() const {
  const auto dense_layers = layers - moe_layers();
  return layers * 4 * dim * dim + 2 * dim * ffn * (dense_layers + moe_layers() * topk) +
         moe_layers() * dim * experts + vocab * dim;
}

double ModelCase::step_gflop() const {
  return 1e-9 * static_cast<double>(tokens()) *
         static_cast<double>(6 * active_matrix_parameters() + 12 * layers * dim * seq);
}

void ModelCase::validate() const {
  if (dim % heads != 0) {
    fail_usage("--heads {} with --dim {}: the width must be a multiple of the number of heads",
               heads, dim);
  }
  if (topk > experts) {
    fail_usage("--topk {} of --experts {}: a token cannot use more experts than there are", topk,
               experts);
  }
  if (moe_freq > layers) {
    fail_usage(
        "--moe-freq {} with --layers {}: no layer would hold experts; allowed are 0 (a dense "
        "model) to {}",
        moe_freq, layers, layers);
  }
}

const std::vector<Suite<ModelCase>>& model_suites() {
  static const std::vector<Suite<ModelCase>> suites = {
      {"tiny",
       {{.layers = 4, .dim = 128, .ffn = 512, .experts = 4, .vocab = 512, .seq = 128, .batch = 8}}},
      {"small", {ModelCase{}}},
      {"gpt2s",
       {{.layers = 12,
         .dim = 768,
         .heads = 12,
         .ffn = 3072,
         .experts = 16,
         .vocab = 50257,
         .seq = 512,
         .batch = 2}}},
  };
  return suites;
}

void describe(OptionTable& table, ModelFlags& o) {
  table.group("model", "The model; what is not given is the suite's (small)");
  table.add("layers", &o.layers, "Layers.").at_least(1);
  table.add("dim", &o.dim, "Width.").at_least(2);
  table.add("heads", &o.heads, "Attention heads.").at_least(1);
  table.add("ffn", &o.ffn, "Hidden width of a feed-forward network and of an expert.").at_least(1);
  table.add("experts", &o.experts, "Experts of an MoE layer.").at_least(1);
  table.add("topk", &o.topk, "Experts of a token: a number, or E for all.").metavar("K");
  table.add("moe-freq", &o.moe_freq, "Every n-th layer holds experts; 0: a dense model.")
      .at_least(0);
  table.add("vocab", &o.vocab, "Vocabulary.").at_least(1);
  table.add("seq", &o.seq, "Tokens of a sequence.").at_least(1);
  table.add("batch", &o.batch, "Sequences of a batch.").at_least(1);
  table.add("positions", &o.positions, "Position embeddings.").choices({"sinusoidal", "learned"});
}

ModelCase model_case(const std::optional<std::string>& suite, const ModelFlags& flags) {
  auto model = suite_cases(model_suites(), suite.value_or("small")).front();
  model.layers = flags.layers.value_or(model.layers);
  model.dim = flags.dim.value_or(model.dim);
  model.heads = flags.heads.value_or(model.heads);
  model.ffn = flags.ffn.value_or(model.ffn);
  model.experts = flags.experts.value_or(model.experts);
  model.moe_freq = flags.moe_freq.value_or(model.moe_freq);
  model.vocab = flags.vocab.value_or(model.vocab);
  model.seq = flags.seq.value_or(model.seq);
  model.batch = flags.batch.value_or(model.batch);
  model.positions = flags.positions;
  if (flags.topk) model.topk = parse_topk(*flags.topk, model.experts);
  model.validate();
  return model;
}

TrainOptions train_options(const ModelCase& model, bool balanced) {
  TrainOptions options;
  options.task.tokens_per_sample = model.seq;
  auto& m = options.model;
  m.decoder.layers = model.layers;
  m.decoder.embed_dim = model.dim;
  m.decoder.ffn_embed_dim = model.ffn;
  m.decoder.attention_heads = model.heads;
  m.activation_fn = "gelu";
  m.dropout = m.attention_dropout = m.activation_dropout = 0.0;
  m.share_decoder_input_output_embed = true;
  // The sinusoidal table is set as positions that are not trained (fill_model): the model's own one
  // would begin at another position, as there is no padding.
  m.decoder.learned_pos = true;
  auto& moe = options.moe;
  moe.moe_freq = model.moe_freq;
  if (model.moe_freq > 0) {
    moe.moe_expert_count = model.experts;
    options.routers.get<CapacityOptions>().train_factor = 0;  // dropless
    if (model.topk == model.experts) {
      moe.moe_router = "dense";
    } else if (balanced) {
      moe.moe_router = balanced_router();
      options.routers.get<TopkOptions>().k = model.topk;
    } else if (model.topk == 1) {
      moe.moe_router = "switch";
    } else {
      moe.moe_router = "topk";
      options.routers.get<TopkOptions>() = {.k = model.topk, .no_normalize = true};
    }
    options.criterion.criterion = "moe_cross_entropy";
    options.criterion.moe_gate_loss_wt = model.balance_weight;
    options.criterion.moe_gate_loss_combine_method = "sum";
  }
  auto& optimization = options.optimization;
  options.optimizer.of<AdamOptions>().betas = {0.9, 0.98};
  options.optimizer.weight_decay = model.weight_decay;
  optimization.lr = {model.lr};
  optimization.clip_norm = model.clip;
  return options;
}

void fill_model(torch::nn::Module& module, const ModelCase& model) {
  const torch::NoGradGuard no_grad;
  const double spread = std::sqrt(3.0) * inverse_sqrt(model.dim);
  const double fan_in = inverse_sqrt(model.dim), fan_hidden = inverse_sqrt(model.ffn);
  ParameterFiller filler(module);
  filler.set("decoder.embed_tokens.weight", kEmbedding, spread);
  const std::string positions = "decoder.embed_positions.weight";
  if (model.positions == "learned") {
    filler.set(positions, kPositions, spread);
  } else {
    // The first token has position 2, as in fairseq.
    filler.set(positions, sinusoidal_table(model.seq + 2, model.dim, kNoPadding).slice(0, 2));
    module.named_parameters()[positions].set_requires_grad(false);
  }
  for (int64_t l = 0; l < model.layers; ++l) {
    const auto name = fmt::format("decoder.layers.{}.", l);
    const auto tag = kLayer + 20 * static_cast<uint64_t>(l);
    const auto qkv = hash_tensor(tag + kQueryKeyValue, {3, model.dim, model.dim}, fan_in);
    filler.set(name + "self_attn.q_proj.weight", qkv[0]);
    filler.set(name + "self_attn.k_proj.weight", qkv[1]);
    filler.set(name + "self_attn.v_proj.weight", qkv[2]);
    filler.set(name + "self_attn.out_proj.weight", tag + kAttentionOutput, fan_in);
    if (model.moe_freq > 0 && (l + 1) % model.moe_freq == 0) {
      filler.set(name + "moe_layer.gate.wg.weight", tag + kRouter, fan_in);
      filler.set(name + "moe_layer.experts.w1", tag + kFc1, fan_in);
      filler.set(name + "moe_layer.experts.w2", tag + kFc2, fan_hidden);
    } else {
      filler.set(name + "fc1.weight", tag + kFc1, fan_in);
      filler.set(name + "fc2.weight", tag + kFc2, fan_hidden);
    }
  }
  filler.set_rest();
}

Batch hash_batch(const ModelCase& model, int64_t number) {
  const auto tokens = hash_tokens(kTokens + static_cast<uint64_t>(number),
                                  model.batch * (model.seq + 1), model.vocab);
  Batch batch;
  batch.rows = model.batch;
  batch.columns = batch.target_columns = model.seq;
  for (int64_t b = 0; b < model.batch; ++b) {
    const auto row = tokens.begin() + b * (model.seq + 1);
    batch.source.insert(batch.source.end(), row, row + model.seq);
    batch.target.insert(batch.target.end(), row + 1, row + model.seq + 1);
  }
  batch.ids.resize(static_cast<size_t>(model.batch));
  std::iota(batch.ids.begin(), batch.ids.end(), 0);
  batch.lengths.assign(batch.ids.size(), model.seq);
  batch.tokens = model.tokens();
  return batch;
}

}  // namespace evomoe::bench
