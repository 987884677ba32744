#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "evomoe/bench/bench_options.h"
#include "evomoe/data/dataset.h"
#include "evomoe/models/gpt.h"
#include "evomoe/train/options.h"

namespace evomoe::bench {

/// A GPT language model with MoE layers, its batch and its training.
struct ModelCase {
  int64_t layers = 8;
  int64_t dim = 256;
  int64_t heads = 4;
  int64_t ffn = 1024;
  int64_t experts = 8;
  int64_t topk = 1;
  int64_t moe_freq =
      2;  ///< layers moe_freq - 1, 2 moe_freq - 1, ... hold experts; 0: a dense model
  int64_t vocab = 8192;
  int64_t seq = 256;
  int64_t batch = 8;
  std::string positions = "sinusoidal";  ///< sinusoidal | learned
  double balance_weight = 0.01;
  double lr = 3e-4;
  double weight_decay = 0.1;
  double clip = 1.0;

  int64_t tokens() const { return seq * batch; }
  int64_t moe_layers() const { return moe_freq > 0 ? layers / moe_freq : 0; }
  /// L8-d256-h4-f1024-E8-k1-every2-V8192-T256-B8: the label by which programs are compared.
  std::string label() const;
  /// Matrix parameters that one token uses, the output projection counted, the embedding look-up
  /// not.
  int64_t active_matrix_parameters() const;
  /// Of a training step, in 10^9 operations: 6 a token and active matrix parameter, and attention's
  /// products, counted in full although half of them is masked.
  double step_gflop() const;
  /// Throws UsageError naming flag, value and remedy.
  void validate() const;
};

/// The sizes to start from: tiny, small, gpt2s.
const std::vector<Suite<ModelCase>>& model_suites();

/// Flags of sizes; one that is not given is the suite's.
struct ModelFlags {
  std::optional<int64_t> layers, dim, heads, ffn, experts, moe_freq, vocab, seq, batch;
  std::optional<std::string> topk;  ///< a number, or E for all experts
  std::string positions = "sinusoidal";
};
void describe(OptionTable& table, ModelFlags& flags);
/// The case of the suite (`small` when none is named) with those flags, checked.
ModelCase model_case(const std::optional<std::string>& suite, const ModelFlags& flags);

/// How `evomoe train` is told to train that model. `balanced`: the routers' choice is replaced by
/// equal loads.
TrainOptions train_options(const ModelCase& model, bool balanced = false);

/// No token of the test data is padding: the model is made with this for its padding.
constexpr int64_t kNoPadding = -1;

/// Gives the model the hash-made weights of the peer benchmarks.
void fill_model(torch::nn::Module& module, const ModelCase& model);

/// Batch `number` of the test data.
Batch hash_batch(const ModelCase& model, int64_t number);

}  // namespace evomoe::bench
