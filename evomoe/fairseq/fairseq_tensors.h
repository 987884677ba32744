#pragma once

#include <string>
#include <utility>
#include <vector>

#include "evomoe/checkpoint/safetensors.h"

namespace evomoe {

/// The tensors that fairseq's state dict has beside the parameters of a model, in their order.
class FairseqTensors {
 public:
  explicit FairseqTensors(const TensorMap& model) : model_(model) {}

  /// Whether the model has this parameter.
  bool has(const std::string& name) const { return model_.contains(name); }

  void add(const std::string& name, torch::Tensor value) {
    tensors_.emplace_back(name, std::move(value));
  }
  /// A parameter again, under a name that the model does not have.
  void copy(const std::string& name, const std::string& parameter) {
    if (!has(name)) add(name, model_.at(parameter).to(torch::kCPU));
  }
  void add_version(const std::string& stack) { add(stack + ".version", torch::tensor({3.0F})); }
  /// Its version, and the dummy that fairseq's sinusoidal positions register.
  void add_stack(const std::string& stack) {
    add_version(stack);
    if (!has(stack + ".embed_positions.weight"))
      add(stack + ".embed_positions._float_tensor", torch::zeros({1}));
  }

  std::vector<std::pair<std::string, torch::Tensor>> take() { return std::move(tensors_); }

 private:
  const TensorMap& model_;
  std::vector<std::pair<std::string, torch::Tensor>> tensors_;
};

}  // namespace evomoe
