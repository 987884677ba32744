#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "evomoe/bench/bench_options.h"
#include "evomoe/moe/moe_layer.h"

namespace evomoe::bench {

/// Sizes of one MoE layer and how its tokens are spread over the experts.
struct LayerCase {
  int64_t tokens = 2048;
  int64_t dim = 512;
  int64_t hidden = 2048;
  int64_t experts = 8;
  int64_t topk = 1;
  std::string skew = "uniform";  ///< uniform | zipf | balanced
  /// Phase of the dense-to-sparse gate: `all` (before the temperature falls: every expert), a
  /// temperature, `hard` (one expert, with noise), `argmax` (one expert, without noise). Empty: the
  /// routing is top-k.
  std::string dts;
  double zipf_s = 1.0;
  bool recompute_experts = false;  ///< make pre-activations again in the backward pass
  /// gelu: two matrices with biases; swiglu, geglu: gated experts without biases.
  std::string ffn = "gelu";

  /// The label by which programs are compared, S2048-M512-H2048-E8-k1-uniform; behind it `-swiglu`
  /// or `-geglu`, and `-dts-...` where no other program computes the same.
  std::string label() const;
  /// Its experts.
  ExpertForm form() const;
  /// The schedule of the phase `dts`.
  RouterSchedule schedule() const;
  /// Matrix products of `assignments` token-expert pairs, forward and backward, in 10^9 operations.
  double useful_gflop(double assignments) const;
  /// Throws UsageError naming flag, value and remedy.
  void validate() const;
};

/// The gradient of each weight as the checksums name it, grad_w1 ..., with the stream that it is
/// projected on (hash_data.h).
std::map<std::string, double> gradient_checksums(const ExpertWeights& weights);

/// The flags --tokens --dim --hidden --experts --topk.
void describe_sizes(OptionTable& table, LayerCase& layer, std::string& topk);

const std::vector<Suite<LayerCase>>& layer_suites();

/// Inputs and weights; the recipe of the peer benchmarks.
struct LayerData {
  torch::Tensor x_TD;
  torch::Tensor upstream_TD;  ///< gradient of the loss with respect to the output
  torch::Tensor gate_ED;
  ExpertWeights experts;
};

/// Hash-made data whose router logits select exactly the planned experts. Gate row e lives on its
/// own columns and has norm 1; the part of every token along that row is replaced by the wanted
/// logit, so that the choice is known and yet depends on token and gate.
LayerData layer_data(const LayerCase& layer);

/// The layer with that data's weights. `balanced`: the router's choice is replaced by equal loads.
MoELayer make_layer(const LayerCase& layer, const LayerData& data, bool balanced = false);

}  // namespace evomoe::bench
