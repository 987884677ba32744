#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "evomoe/base/philox.h"
#include "evomoe/ops/activation.h"
#include "evomoe/ops/expert_mlp_results.h"
#include "evomoe/ops/expert_weights.h"

/// The experts' feed-forward blocks by the kernels of kernels/cuda, for all assignments at once:
/// rows lie in the order of the assignments from one kernel to the next, and only the matrix
/// products know where one expert ends. What expert_mlp() does for tensors on a CUDA device; with
/// kernels that run on the CPU (tests/cuda_emulation) it does the same there.
namespace evomoe {

struct CudaExperts {
  torch::Tensor x_TD, weight_A, token_A;  ///< checked, contiguous
  ExpertWeights weights;                  ///< likewise
  std::vector<int64_t> offset_E1;
  Activation activation = Activation::kGelu;
  double activation_dropout = 0, dropout = 0;
  NoiseKey activation_key, output_key;
  /// One grouped product of LibTorch for all experts; else a product for each, which the host
  /// starts one by one. Neither waits for the device.
  bool grouped = false;
};

/// Whether LibTorch's grouped product takes such experts without falling back to a loop that waits
/// for the device: bfloat16, dimensions of whole 16 bytes, compute capability 9.0 or 10.x.
bool can_group_products(const torch::Tensor& x_TD, const torch::Tensor& w1_EHD);

ExpertMlpOutput cuda_experts_forward(const CudaExperts& experts, bool keep_hidden);

/// As expert_mlp_backward(). LibTorch's grouped product and the sums of biases make tensors of
/// their own, which are copied to where `into` wants them.
ExpertMlpGradients cuda_experts_backward(const CudaExperts& experts, ExpertMlpHidden hidden,
                                         const torch::Tensor& grad_y_TD,
                                         const ExpertWeights& into = {}, bool of_weights = true);

}  // namespace evomoe
