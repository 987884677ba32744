#include "evomoe/ops/philox_dropout.h"

#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/kernels/cpu/noise.h"
#include "evomoe/kernels/cuda/noise.h"
#include "evomoe/ops/cuda_kernels.h"
#include "evomoe/ops/noise.h"
#include "evomoe/ops/saved_value.h"

namespace evomoe {
namespace {

bool fused(const torch::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == torch::kFloat32 && x.is_contiguous();
}

/// Whether a CUDA kernel takes x.
bool on_cuda(const torch::Tensor& x) { return kHasCudaKernels && cuda_kernels_take(x); }

/// Dropout from `x` to `y`, which may be the same, there; `token_N` may be undefined.
void cuda_drop(const torch::Tensor& x, const torch::Tensor& y, const torch::Tensor& token_N,
               int64_t columns, int64_t first_block, double probability, const NoiseKey& key) {
  if constexpr (kHasCudaKernels) {
    const DeviceStream stream(x);
    with_element(x, [&](auto element) {
      using T = decltype(element);
      kernels::cuda::dropout(kernel_data<T>(x), kernel_data<T>(y),
                             kernel_data_or_null<int64_t>(token_N), /*group=*/nullptr,
                             x.numel() / columns, columns, static_cast<uint32_t>(first_block),
                             probability, key, stream.get());
    });
  }
}

/// What to multiply rows by: 0 or 1 / (1 - probability). [N, columns], of x's type and device.
torch::Tensor factor(const torch::Tensor& x_NC, const torch::Tensor& token_N, int64_t first_block,
                     double probability, const NoiseKey& key) {
  const auto columns = x_NC.size(1);
  const auto words = philox_words(token_N, first_block, (columns + 3) / 4, key);
  const auto threshold = static_cast<int64_t>(std::ceil(probability * 0x1p23 - 0.5));
  const auto keep = words.slice(1, 0, columns).bitwise_right_shift(9) >= threshold;
  return keep.to(x_NC.scalar_type()) * (1.0 / (1.0 - probability));
}

/// Which random numbers the rows of a tensor get.
struct Rows {
  NoiseKey key;
  torch::Tensor token_N;  ///< undefined: 0, 1, 2 ...
};

torch::Tensor drop(const torch::Tensor& x, double probability, const Rows& given) {
  const auto columns = x.size(-1);
  const auto input = x.contiguous();
  if (fused(input)) {
    auto y = torch::empty_like(input);
    const auto* token = given.token_N.defined() ? given.token_N.const_data_ptr<int64_t>() : nullptr;
    kernels::dropout(input.const_data_ptr<float>(), y.data_ptr<float>(), token,
                     columns == 0 ? 0 : input.numel() / columns, columns, /*first_block=*/0,
                     probability, given.key);
    return y;
  }
  if (input.numel() == 0) return input.clone();
  if (on_cuda(input)) {
    auto y = torch::empty_like(input);
    cuda_drop(input, y, given.token_N, columns, /*first_block=*/0, probability, given.key);
    return y;
  }
  const auto rows = input.view({-1, columns});
  const auto token_N = given.token_N.defined()
                           ? given.token_N
                           : torch::arange(rows.size(0), rows.options().dtype(torch::kInt64));
  return (rows * factor(rows, token_N, /*first_block=*/0, probability, given.key))
      .view(input.sizes());
}

class PhiloxDropout : public torch::autograd::Function<PhiloxDropout> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               double probability, const Rows& rows) {
    context->saved_data["probability"] = probability;
    save_value(context, "rows", rows);
    return drop(x, probability, rows);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    // The same operation on the gradient, which can be differentiated again.
    const auto rows = saved_value<Rows>(context, "rows");
    return {philox_dropout(gradients[0], context->saved_data["probability"].toDouble(), rows.key,
                           rows.token_N),
            torch::Tensor(), torch::Tensor()};
  }
};

}  // namespace

void check_dropout_probability(double probability, const char* name) {
  EVOMOE_CHECK(probability >= 0 && probability < 1,
               "the probability of {} is {}; it must be at least 0 and below 1", name, probability);
}

torch::Tensor philox_dropout(const torch::Tensor& x, double probability, const NoiseKey& key,
                             const torch::Tensor& token_N) {
  check_dropout_probability(probability, "dropout");
  if (probability == 0) return x;
  EVOMOE_CHECK(x.dim() > 0 && x.is_floating_point(),
               "dropout needs a floating tensor [..., C], not {} of shape {}",
               c10::toString(x.scalar_type()), c10::str(x.sizes()));
  if (token_N.defined()) {
    EVOMOE_CHECK(token_N.dim() == 1 && token_N.scalar_type() == torch::kInt64 &&
                     token_N.is_contiguous() && token_N.size(0) * x.size(-1) == x.numel(),
                 "dropout of a tensor of shape {} needs the token of each row, int64, not {} {}",
                 c10::str(x.sizes()), c10::toString(token_N.scalar_type()),
                 c10::str(token_N.sizes()));
  }
  return PhiloxDropout::apply(x, probability, Rows{key, token_N});
}

void philox_dropout_rows_(torch::Tensor& x_NC, const torch::Tensor& token_N, int64_t first_block,
                          double probability, const NoiseKey& key) {
  check_dropout_probability(probability, "dropout");
  if (probability == 0 || x_NC.numel() == 0) return;
  if (fused(x_NC)) {
    kernels::dropout(x_NC.const_data_ptr<float>(), x_NC.data_ptr<float>(),
                     token_N.const_data_ptr<int64_t>(), x_NC.size(0), x_NC.size(1),
                     static_cast<uint32_t>(first_block), probability, key);
    return;
  }
  if (on_cuda(x_NC)) {
    cuda_drop(x_NC, x_NC, token_N, x_NC.size(1), first_block, probability, key);
    return;
  }
  x_NC.mul_(factor(x_NC, token_N, first_block, probability, key));
}

}  // namespace evomoe
