#include "evomoe/bench/layer_case.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "evomoe/base/error.h"
#include "evomoe/bench/balanced_router.h"
#include "evomoe/bench/hash_data.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe::bench {
namespace {

// Streams of the test data.
constexpr uint64_t kInput = 1, kGate = 2, kAssignment = 3, kLogits = 4, kUpstream = 9;
/// w1 and w3 have one: the PyTorch benchmarks hold them in one tensor [E,2H,D], w1 first.
constexpr ExpertWeightsOf<uint64_t> kOfExperts = {5, 6, 7, 8, 5};
/// A gradient is projected on the stream of what it is the gradient of, plus this.
constexpr uint64_t kGradients = 100;

/// The temperature of a DTS phase; 0 for phases without one.
double temperature_of(const std::string& phase) {
  if (phase.empty() || phase == "all" || phase == "hard" || phase == "argmax") return 0;
  size_t read = 0;
  double temperature = 0;
  try {
    temperature = std::stod(phase, &read);
  } catch (const std::exception&) {
    read = 0;
  }
  if (read != phase.size() || !(temperature > 0) || std::isinf(temperature)) {
    fail_usage("--dts {}: allowed are all, a temperature above 0, hard and argmax", phase);
  }
  return temperature;
}

/// The tokens' rank by their hash: balanced loads without a pattern in the order of tokens.
std::vector<int64_t> hash_ranks(int64_t tokens) {
  std::vector<int64_t> order(static_cast<size_t>(tokens));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [](int64_t a, int64_t b) {
    return hash_word(kAssignment, static_cast<uint64_t>(a)) <
           hash_word(kAssignment, static_cast<uint64_t>(b));
  });
  std::vector<int64_t> rank(order.size());
  for (size_t i = 0; i < order.size(); ++i)
    rank[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
  return rank;
}

/// Planned experts of every token, [T,k] row-major.
std::vector<int64_t> planned_experts(const LayerCase& layer) {
  const auto T = layer.tokens, E = layer.experts, k = layer.topk;
  std::vector<int64_t> planned(static_cast<size_t>(T * k));
  if (k < E && layer.skew == "balanced") {
    const auto rank = hash_ranks(T);
    for (int64_t t = 0; t < T; ++t) {
      for (int64_t j = 0; j < k; ++j) {
        planned[static_cast<size_t>(t * k + j)] =
            (rank[static_cast<size_t>(t)] + j * std::max<int64_t>(1, E / k)) % E;
      }
    }
    return planned;
  }
  const double exponent = layer.skew == "zipf" ? layer.zipf_s : 0.0;
  std::vector<double> key(static_cast<size_t>(E));
  std::vector<int64_t> order(key.size());
  for (int64_t t = 0; t < T; ++t) {
    std::iota(order.begin(), order.end(), 0);
    if (k < E) {
      for (int64_t e = 0; e < E; ++e) {
        const double popularity = std::pow(static_cast<double>(e + 1), -exponent);
        key[static_cast<size_t>(e)] =
            std::log(hash_open_unit(kAssignment, static_cast<uint64_t>(t * E + e))) / popularity;
      }
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return key[static_cast<size_t>(a)] > key[static_cast<size_t>(b)];
      });
    }
    std::copy_n(order.begin(), k, planned.begin() + t * k);
  }
  return planned;
}

torch::Tensor to_float(const std::vector<double>& values, torch::IntArrayRef shape) {
  return torch::from_blob(const_cast<double*>(values.data()), shape, torch::kFloat64)
      .to(torch::kFloat32);
}

/// Fills gate and x, in float64 until the last rounding.
void make_routed_input(const LayerCase& layer, LayerData& data) {
  const auto T = layer.tokens, D = layer.dim, E = layer.experts, block = D / E;
  std::vector<double> gate(static_cast<size_t>(E * D)), x(static_cast<size_t>(T * D)),
      logits(static_cast<size_t>(T * E));
  for (int64_t e = 0; e < E; ++e) {
    auto* const row = &gate[static_cast<size_t>(e * D + e * block)];
    double squares = 0;
    for (int64_t i = 0; i < block; ++i) {
      row[i] = hash_value(kGate, static_cast<uint64_t>(e * block + i));
      squares += row[i] * row[i];
    }
    for (int64_t i = 0; i < block; ++i) row[i] /= std::sqrt(squares);
  }
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = 0.5 * hash_value(kLogits, i);
  const auto planned = planned_experts(layer);
  for (size_t i = 0; i < planned.size(); ++i)
    logits[i / static_cast<size_t>(layer.topk) * static_cast<size_t>(E) +
           static_cast<size_t>(planned[i])] += 2.0;
  for (size_t i = 0; i < x.size(); ++i) x[i] = hash_value(kInput, i);
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t e = 0; e < E; ++e) {
      const auto* const row = &gate[static_cast<size_t>(e * D + e * block)];
      auto* const part = &x[static_cast<size_t>(t * D + e * block)];
      const double dot = std::inner_product(row, row + block, part, 0.0);
      const double missing = logits[static_cast<size_t>(t * E + e)] - dot;
      for (int64_t i = 0; i < block; ++i) part[i] += missing * row[i];
    }
  }
  data.gate_ED = to_float(gate, {E, D});
  data.x_TD = to_float(x, {T, D});
}

}  // namespace

std::string LayerCase::label() const {
  auto text = fmt::format("S{}-M{}-H{}-E{}-k{}-{}", tokens, dim, hidden, experts, topk, skew);
  if (ffn != "gelu") text += "-" + ffn;
  const bool as_top_k =
      dts.empty() || (dts == "all" && topk == experts) || (dts == "argmax" && topk == 1);
  return as_top_k ? text : text + "-dts-" + dts;
}

double LayerCase::useful_gflop(double assignments) const {
  // Each matrix in the forward pass and for two gradients.
  return 1e-9 * 3 * 2 * assignments * static_cast<double>(expert_work(form()).forward);
}

ExpertForm LayerCase::form() const {
  const bool gated = ffn != "gelu";
  return {
      .experts = experts, .model_dim = dim, .hidden_dim = hidden, .gated = gated, .biases = !gated};
}

void LayerCase::validate() const {
  if (topk > experts) {
    fail_usage("--topk {} of --experts {}: a token cannot use more experts than there are", topk,
               experts);
  }
  if (experts > dim) {
    fail_usage(
        "--experts {} with --dim {}: the test data gives each expert columns of its own, so dim "
        "must be at least the number of experts",
        experts, dim);
  }
  temperature_of(dts);
}

void describe_sizes(OptionTable& table, LayerCase& layer, std::string& topk) {
  table.group(kCaseGroup, "The layer");
  table.add("tokens", &layer.tokens, "Tokens.").at_least(1);
  table.add("dim", &layer.dim, "Width of a token.").at_least(1);
  table.add("hidden", &layer.hidden, "Hidden width of an expert.").at_least(1);
  table.add("experts", &layer.experts, "Experts.").at_least(1);
  table.add("topk", &topk, "Experts of a token: a number, or E for all.");
}

const std::vector<Suite<LayerCase>>& layer_suites() {
  const auto of = [](int64_t tokens, int64_t dim, int64_t hidden, int64_t experts, int64_t topk,
                     const std::string& skew = "uniform") {
    return LayerCase{.tokens = tokens,
                     .dim = dim,
                     .hidden = hidden,
                     .experts = experts,
                     .topk = topk,
                     .skew = skew};
  };
  const auto dts = [](int64_t topk, const std::string& phase) {
    return LayerCase{.topk = topk, .dts = phase};
  };
  const auto gated = [](LayerCase layer, const std::string& ffn) {
    layer.ffn = ffn;
    return layer;
  };
  static const std::vector<Suite<LayerCase>> suites = {
      {"small",
       {of(512, 256, 1024, 8, 1), of(512, 256, 1024, 8, 2), of(512, 256, 1024, 8, 8),
        of(512, 128, 128, 32, 4), of(128, 256, 1024, 32, 1), of(512, 256, 1024, 8, 1, "zipf")}},
      {"paper",
       {of(2048, 512, 2048, 8, 1), of(2048, 512, 2048, 8, 8), of(8192, 256, 1024, 16, 1),
        of(1024, 768, 3072, 16, 2), of(2048, 256, 256, 64, 4), of(256, 512, 2048, 64, 1),
        of(2048, 512, 2048, 8, 1, "zipf"), of(8192, 256, 1024, 16, 1, "zipf")}},
      {"gpt2s", {of(1024, 768, 3072, 16, 1), of(1024, 768, 3072, 16, 16)}},
      {"dts",
       {dts(8, "all"), dts(1, "10"), dts(1, "2"), dts(1, "1"), dts(1, "0.5"), dts(1, "0.3"),
        dts(1, "0.2"), dts(1, "0.1"), dts(1, "0.05"), dts(1, "0.01"), dts(1, "hard"),
        dts(1, "argmax")}},
      {"gated",
       {gated(of(512, 256, 704, 8, 2), "swiglu"), gated(of(2048, 512, 1408, 8, 2), "swiglu"),
        gated(of(2048, 512, 1408, 8, 2), "geglu"), gated(of(2048, 256, 176, 64, 4), "swiglu")}},
  };
  return suites;
}

LayerData layer_data(const LayerCase& layer) {
  const auto T = layer.tokens, D = layer.dim, H = layer.hidden;
  LayerData data;
  make_routed_input(layer, data);
  data.upstream_TD = hash_tensor(kUpstream, {T, D});
  auto shapes = expert_shapes(layer.form());
  if (layer.form().gated) {
    shapes.w1_EHD[1] = 2 * H;  // with w3
    shapes.w3_EHD = {};
  }
  const ExpertWeightsOf<int64_t> fan_in = {D, D, H, H, D};
  for_each_weight(
      [](torch::Tensor& weight, const std::vector<int64_t>& shape, int64_t inputs,
         uint64_t stream) {
        if (!shape.empty())
          weight = hash_tensor(stream, shape, 1.0 / std::sqrt(static_cast<double>(inputs)));
      },
      data.experts, shapes, fan_in, kOfExperts);
  if (layer.form().gated) {
    const auto both = data.experts.w1_EHD;
    data.experts.w1_EHD = both.slice(1, 0, H).contiguous();
    data.experts.w3_EHD = both.slice(1, H).contiguous();
  }
  return data;
}

std::map<std::string, double> gradient_checksums(const ExpertWeights& weights) {
  auto gradients =
      of_each_weight(weights, [](const torch::Tensor& weight) { return weight.grad(); });
  if (gradients.w3_EHD.defined()) {
    gradients.w1_EHD = torch::cat({gradients.w1_EHD, gradients.w3_EHD}, 1);
    gradients.w3_EHD = torch::Tensor();
  }
  std::map<std::string, double> checksums;
  for_each_weight(
      [&](const torch::Tensor& gradient, const char* name, uint64_t stream) {
        if (gradient.defined())
          checksums[fmt::format("grad_{}", name)] = projection(gradient, kGradients + stream);
      },
      gradients, kExpertWeightNames, kOfExperts);
  return checksums;
}

RouterSchedule LayerCase::schedule() const {
  if (dts.empty() || dts == "all") return {};
  // One expert is the largest value at any temperature.
  if (dts == "hard") return {.temperature = 0.3, .hard = true};
  if (dts == "argmax") return {.temperature = 0.3, .hard = true, .noise_scale = 0};
  return {.temperature = temperature_of(dts)};
}

MoELayer make_layer(const LayerCase& layer, const LayerData& data, bool balanced) {
  MoELayerOptions options;
  auto& router = options.router;
  router.model_dim = layer.dim;
  router.num_experts = layer.experts;
  router.get<CapacityOptions>().train_factor = 0;  // dropless
  if (!layer.dts.empty()) {
    router.method = "dts";
  } else if (layer.topk == layer.experts) {
    router.method = "dense";
  } else if (balanced) {
    router.method = balanced_router();
    router.get<TopkOptions>().k = layer.topk;
  } else if (layer.topk == 1) {
    router.method = "switch";
  } else {
    router.method = "topk";
    router.get<TopkOptions>() = {.k = layer.topk, .no_normalize = true};
  }
  options.hidden_dim = layer.hidden;
  options.activation = layer.ffn == "swiglu" ? "silu" : "gelu";
  options.gated = layer.form().gated;
  options.biases = layer.form().biases;
  options.recompute_experts = layer.recompute_experts;
  options.initial_seed.reset();
  MoELayer moe(options);
  const torch::NoGradGuard no_grad;
  moe->router()->gate_weight().copy_(data.gate_ED);
  for_each_weight(
      [](const torch::Tensor& to, const torch::Tensor& from) {
        if (from.defined()) to.copy_(from);
      },
      moe->experts()->weights, data.experts);
  return moe;
}

}  // namespace evomoe::bench
