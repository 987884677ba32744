#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "evomoe/routing/capacity.h"
#include "evomoe/routing/dts_router.h"
#include "evomoe/routing/gshard_router.h"
#include "evomoe/routing/registry.h"
#include "evomoe/routing/topk_router.h"
#include "tests/testing/paths.h"

namespace evomoe::testing {

/// The tensors and the metadata of a safetensors file of tests/golden/routing.
struct GoldenFile {
  std::map<std::string, torch::Tensor> tensors;
  nlohmann::json metadata;

  torch::Tensor get(const std::string& name) const {
    const auto found = tensors.find(name);
    return found == tensors.end() ? torch::Tensor() : found->second;
  }
};

inline GoldenFile read_golden(const std::filesystem::path& path) {
  const std::string bytes = read_text(path);
  uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), sizeof(header_size));
  const auto header = nlohmann::json::parse(bytes.substr(8, header_size));
  GoldenFile file;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      file.metadata = entry;
      continue;
    }
    const std::string type = entry["dtype"];
    const auto dtype = type == "F32"   ? torch::kFloat32
                       : type == "I64" ? torch::kInt64
                                       : torch::kBool;
    auto tensor = torch::empty(entry["shape"].get<std::vector<int64_t>>(), dtype);
    const auto begin = entry["data_offsets"][0].get<size_t>();
    std::memcpy(tensor.data_ptr(), bytes.data() + 8 + header_size + begin, tensor.nbytes());
    file.tensors[name] = tensor;
  }
  return file;
}

/// A tensor of gates.json: {shape, dtype, data}.
inline torch::Tensor json_tensor(const nlohmann::json& entry) {
  const auto values = torch::tensor(entry["data"].get<std::vector<double>>(), torch::kFloat64);
  const std::string type = entry["dtype"];
  return values.reshape(entry["shape"].get<std::vector<int64_t>>())
      .to(type == "bool" ? torch::kBool : torch::kFloat32);
}

/// A float64 matrix or vector given as nested lists.
inline torch::Tensor json_matrix(const nlohmann::json& rows) {
  if (!rows[0].is_array()) return torch::tensor(rows.get<std::vector<double>>(), torch::kFloat64);
  std::vector<torch::Tensor> parts;
  for (const auto& row : rows) parts.push_back(json_matrix(row));
  return torch::stack(parts);
}

/// Expects the number of cases that tests/golden holds. Another folder (EVOMOE_GOLDEN) may hold any
/// number but none.
inline void expect_cases(int found, int committed) {
  if (std::getenv("EVOMOE_GOLDEN") == nullptr) {
    EXPECT_EQ(found, committed);
  } else {
    EXPECT_GT(found, 0);
  }
}

/// A router whose logits are its input: D = E and an identity as gate weight.
inline std::shared_ptr<Router> logits_router(RouterOptions options, int64_t num_experts,
                                             torch::ScalarType type = torch::kFloat32) {
  options.model_dim = num_experts;
  options.num_experts = num_experts;
  auto router = make_router(options);
  router->to(type);
  const torch::NoGradGuard no_grad;
  router->gate_weight().copy_(torch::eye(num_experts));
  return router;
}

/// Routing after capacity drops, as a layer does it.
inline Routing route_with_capacity(Router& router, const torch::Tensor& x_TD,
                                   const RoutingContext& context) {
  return apply_capacity(router.route(x_TD, context),
                        router.capacity(x_TD.size(0), context.training),
                        CapacityOptions().drop_policy, context.valid_T);
}

/// The slot of every (token, expert), -1 where not routed.
inline torch::Tensor dense_slots(const Routing& routing, int64_t num_tokens) {
  return torch::full({num_tokens, routing.num_experts()}, -1, torch::kInt64)
      .index_put({routing.token_A, routing.expert_A()}, slots(routing));
}

inline torch::Tensor loss_named(const Routing& routing, const std::string& name) {
  for (const auto& loss : routing.losses) {
    if (loss.name == name) return loss.value;
  }
  throw std::runtime_error("no loss named " + name);
}

inline double metric_named(const Routing& routing, const std::string& name) {
  for (const auto& [key, value] : routing.stats.reference) {
    if (key == name) return value.to(torch::kFloat64).item<double>();
  }
  throw std::runtime_error("no metric named " + name);
}

/// The largest |a - b| / max(1, |b|).
inline double deviation(const torch::Tensor& a, const torch::Tensor& b) {
  if (a.numel() == 0 && b.numel() == 0) return 0;
  const auto expected = b.detach().to(torch::kFloat64);
  return ((a.detach().to(torch::kFloat64) - expected).abs() / expected.abs().clamp_min(1))
      .max()
      .item<double>();
}

}  // namespace evomoe::testing
