#include "evomoe/kernels/cpu/expert_mlp.h"

#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <vector>

#include "evomoe/kernels/cpu/matmul.h"
#include "evomoe/kernels/cpu/noise.h"
#include "evomoe/kernels/cpu/rows.h"
#include "evomoe/kernels/cpu/vectorize.h"
#include "evomoe/kernels/parallel_for.h"

namespace evomoe::kernels {
namespace {

/// Uninitialised floats, from where LibTorch's tensors have theirs.
class Buffer {
 public:
  explicit Buffer(int64_t size)
      : data_(c10::GetCPUAllocator()->allocate(static_cast<size_t>(size) * sizeof(float))) {}
  float* get() const { return static_cast<float*>(data_.get()); }

 private:
  c10::DataPtr data_;
};

/// Hidden values worked on at a time: some megabytes, which stay in the cache from one step to the
/// next.
constexpr int64_t kBlockElements = int64_t{1} << 21;
constexpr int64_t kLeastBlockRows = 256;

int64_t block_rows(const ExpertMlp& mlp, int64_t most_rows) {
  return std::min(most_rows, std::max(kLeastBlockRows, kBlockElements / mlp.hidden_dim));
}

/// Rows [begin, begin + rows) of the assignments, all of one expert.
struct Block {
  int64_t expert, begin, rows;
};

/// An expert's columns of dropout follow those of the one before it, so that a token has other
/// numbers at each expert.
void drop(const ExpertMlp& mlp, const Block& block, float* values, int64_t columns,
          double probability, const NoiseKey& key) {
  if (probability == 0) return;
  const auto first_block =
      static_cast<uint32_t>((mlp.first_expert + block.expert) * ((columns + 3) / 4));
  const auto* token = mlp.noise_token != nullptr ? mlp.noise_token : mlp.token;
  dropout(values, values, token + block.begin, block.rows, columns, first_block, probability, key);
}

/// x's rows of a block: where they lie, when the expert has all tokens, else gathered.
const float* rows_of(const ExpertMlp& mlp, const Block& block, const float* x_TD, float* buffer) {
  const auto D = mlp.model_dim;
  if (mlp.rows(block.expert) == mlp.tokens) return x_TD + mlp.token[block.begin] * D;
  gather_rows(x_TD, mlp.token + block.begin, buffer, block.rows, D);
  return buffer;
}

EVOMOE_INLINE void scale_row(float* __restrict x, float scale, const float* __restrict bias,
                             int64_t columns) {
  if (bias != nullptr) {
    for (int64_t c = 0; c < columns; ++c) x[c] = scale * (x[c] + bias[c]);
  } else {
    for (int64_t c = 0; c < columns; ++c) x[c] *= scale;
  }
}

EVOMOE_INLINE void add_row(float* __restrict y, const float* __restrict x, int64_t columns) {
  for (int64_t c = 0; c < columns; ++c) y[c] += x[c];
}

EVOMOE_INLINE void add_scaled_row(float* __restrict y, const float* __restrict x, float scale,
                                  int64_t columns) {
  for (int64_t c = 0; c < columns; ++c) y[c] += scale * x[c];
}

EVOMOE_INLINE void add_rows(const float* x, const float* scale, int64_t rows, int64_t stride,
                            int64_t begin, int64_t end, float* sum) {
  for (int64_t r = 0; r < rows; ++r) {
    if (scale != nullptr) {
      add_scaled_row(sum + begin, x + r * stride + begin, scale[r], end - begin);
    } else {
      add_row(sum + begin, x + r * stride + begin, end - begin);
    }
  }
}

/// sum [columns] (+)= the sum over rows of scale[r] * x[r]; null `scale` is 1.
void sum_rows(const float* x, const float* scale, int64_t rows, int64_t columns, bool add,
              float* sum) {
  constexpr int64_t kColumns = 512;
  parallel_for(0, columns, kColumns, [&](int64_t begin, int64_t end) {
    if (!add) std::fill(sum + begin, sum + end, 0.0F);
    EVOMOE_VECTORIZED(add_rows(x, scale, rows, columns, begin, end, sum));
  });
}

EVOMOE_INLINE float dot(const float* __restrict a, const float* __restrict b, int64_t columns) {
  constexpr int kLanes = 16;
  float lane[kLanes] = {};
  const int64_t whole = columns - columns % kLanes;
  for (int64_t c = 0; c < whole; c += kLanes) {
    for (int i = 0; i < kLanes; ++i) lane[i] += a[c + i] * b[c + i];
  }
  for (int64_t c = whole; c < columns; ++c) lane[c - whole] += a[c] * b[c];
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  }
  return lane[0];
}

/// Rows that go back to their tokens: added there at once, or, when experts that share tokens run
/// side by side, kept for each assignment until all are done.
struct Destination {
  float* token_TD;
  float* assignment_AD;  ///< null: added at once
};

void deliver(const ExpertMlp& mlp, const Block& block, float* rows, const float* scale,
             const float* bias, const Destination& to) {
  const auto D = mlp.model_dim;
  if (to.assignment_AD == nullptr) {
    scatter_add_rows(rows, mlp.token + block.begin, scale, bias, to.token_TD, block.rows, D);
  } else if (scale != nullptr) {
    // The rows lie at their place already.
    for (int64_t r = 0; r < block.rows; ++r) {
      EVOMOE_VECTORIZED(scale_row(rows + r * D, scale[r], bias, D));
    }
  }
}

/// Adds up what each token has from its assignments, in the order of the experts.
void combine(const ExpertMlp& mlp, const Destination& to) {
  const auto A = mlp.assignments(), T = mlp.tokens, D = mlp.model_dim;
  std::vector<int64_t> first(static_cast<size_t>(T) + 1), assignment(static_cast<size_t>(A));
  for (int64_t a = 0; a < A; ++a) ++first[static_cast<size_t>(mlp.token[a]) + 1];
  std::partial_sum(first.begin(), first.end(), first.begin());
  auto next = first;
  for (int64_t a = 0; a < A; ++a) {
    assignment[static_cast<size_t>(next[static_cast<size_t>(mlp.token[a])]++)] = a;
  }
  parallel_for(0, T, 32, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* y = to.token_TD + t * D;
      std::fill_n(y, D, 0.0F);
      for (auto i = first[static_cast<size_t>(t)]; i < first[static_cast<size_t>(t) + 1]; ++i) {
        const float* row = to.assignment_AD + assignment[static_cast<size_t>(i)] * D;
        EVOMOE_VECTORIZED(add_row(y, row, D));
      }
    }
  });
}

bool experts_share_tokens(const ExpertMlp& mlp) {
  if (mlp.assignments() > mlp.tokens) return true;
  std::vector<bool> seen(static_cast<size_t>(mlp.tokens));
  for (int64_t a = 0; a < mlp.assignments(); ++a) {
    const auto t = static_cast<size_t>(mlp.token[a]);
    if (seen[t]) return true;
    seen[t] = true;
  }
  return false;
}

/// Which experts get all threads, one after the other in their own order, and which run side by
/// side, those with the most rows first.
struct Shifts {
  std::vector<int64_t> long_experts, short_experts;
};

Shifts plan_shifts(const ExpertMlp& mlp) {
  Shifts shifts;
  const int64_t threads = num_threads();
  // Rows from which a product keeps all threads busy; and no expert may take more than its share of
  // the time that the others need.
  constexpr int64_t kLongRows = 1024;
  const int64_t fair = std::max<int64_t>(1, mlp.assignments() / threads);
  for (int64_t e = 0; e < mlp.experts; ++e) {
    const auto rows = mlp.rows(e);
    if (rows == 0) continue;
    if (threads == 1 || rows >= kLongRows || 2 * rows > fair) {
      shifts.long_experts.push_back(e);
    } else {
      shifts.short_experts.push_back(e);
    }
  }
  std::stable_sort(shifts.short_experts.begin(), shifts.short_experts.end(),
                   [&](int64_t a, int64_t b) { return mlp.rows(a) > mlp.rows(b); });
  return shifts;
}

/// Runs work(expert, worker's memory) for each expert; a worker's memory is made by
/// make(most rows).
template <typename Make, typename Work>
void run_experts(const ExpertMlp& mlp, const Shifts& shifts, const Make& make, const Work& work) {
  const auto most = [&](const std::vector<int64_t>& experts) {
    int64_t rows = 0;
    for (const auto e : experts) rows = std::max(rows, mlp.rows(e));
    return rows;
  };
  if (!shifts.long_experts.empty()) {
    auto memory = make(most(shifts.long_experts));
    for (const auto e : shifts.long_experts) work(e, memory);
  }
  const auto& queue = shifts.short_experts;
  if (queue.empty()) return;
  const auto size = static_cast<int64_t>(queue.size());
  const auto workers = std::min<int64_t>(size, num_threads());
  // Made here: a thread's own arena gives large blocks back to the system each time.
  std::vector<decltype(make(int64_t{}))> memory;
  for (int64_t i = 0; i < workers; ++i) memory.push_back(make(most(queue)));
  std::atomic<int64_t> next = 0;
  parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    for (auto worker = begin; worker < end; ++worker) {
      for (int64_t i = next++; i < size; i = next++)
        work(queue[static_cast<size_t>(i)], memory[static_cast<size_t>(worker)]);
    }
  });
}

template <typename Work>
void for_each_block(const ExpertMlp& mlp, int64_t expert, const Work& work) {
  const auto begin = mlp.offset[expert], end = mlp.offset[expert + 1];
  const auto step = block_rows(mlp, end - begin);
  for (auto row = begin; row < end; row += step)
    work(Block{expert, row, std::min(step, end - row)}, /*first=*/row == begin);
}

/// Numbers of each weight of one expert.
ExpertWeightsOf<int64_t> sizes_of_one(const ExpertMlp& mlp) {
  const auto D = mlp.model_dim, H = mlp.hidden_dim;
  return {.w1_EHD = H * D, .b1_EH = H, .w2_EDH = D * H, .b2_ED = D, .w3_EHD = H * D};
}

/// The weights of expert e, or their gradients.
template <typename T>
ExpertWeightsOf<T*> of_expert(const ExpertMlp& mlp, const ExpertWeightsOf<T*>& all,
                              const ExpertWeightsOf<int64_t>& step, int64_t e) {
  ExpertWeightsOf<T*> one;
  for_each_weight(
      [e](T*& its, T* first, int64_t size, int64_t to_next) {
        its = first == nullptr ? nullptr : first + e * (to_next == 0 ? size : to_next);
      },
      one, all, sizes_of_one(mlp), step);
  return one;
}

/// The matrices of one expert.
struct Matrices {
  MatrixView w1, w2, w3;

  Matrices(const ExpertMlp& mlp, const ExpertWeightsOf<const float*>& weights)
      : w1{weights.w1_EHD, mlp.hidden_dim, mlp.model_dim},
        w2{weights.w2_EDH, mlp.model_dim, mlp.hidden_dim},
        w3{weights.w3_EHD, mlp.hidden_dim, mlp.model_dim} {}
};

/// act = activation(pre + bias), times the factor of gated experts.
void activate(const ExpertMlp& mlp, float* pre, const float* bias, const float* factor, float* act,
              int64_t rows) {
  if (factor == nullptr) {
    bias_activation(pre, bias, act, rows, mlp.hidden_dim, mlp.activation);
  } else {
    gated_bias_activation(pre, bias, factor, act, rows, mlp.hidden_dim, mlp.activation);
  }
}

/// Of a kept matrix [A, H] the rows of a block, else memory for them.
float* hidden_rows(const ExpertMlp& mlp, const Block& block, float* kept, const Buffer& memory) {
  return kept != nullptr ? kept + block.begin * mlp.hidden_dim : memory.get();
}

struct ForwardMemory {
  Buffer pre_NH, factor_NH, act_NH, row_ND;
};

void forward_block(const ExpertMlp& mlp, const Block& block, bool first, const ExpertHidden& kept,
                   const Destination& to, float* act_sum, const ForwardMemory& memory) {
  const auto D = mlp.model_dim, H = mlp.hidden_dim, n = block.rows;
  const auto expert = of_expert(mlp, mlp.of_experts, mlp.step, block.expert);
  const Matrices matrix(mlp, expert);
  const float* x = rows_of(mlp, block, mlp.x, memory.row_ND.get());
  float* pre = hidden_rows(mlp, block, kept.pre, memory.pre_NH);
  float* act = memory.act_NH.get();
  float* out =
      to.assignment_AD != nullptr ? to.assignment_AD + block.begin * D : memory.row_ND.get();
  matmul({x, n, D}, matrix.w1.t(), pre);
  float* factor = nullptr;
  if (mlp.gated()) {
    factor = hidden_rows(mlp, block, kept.factor, memory.factor_NH);
    matmul({x, n, D}, matrix.w3.t(), factor);
  }
  activate(mlp, pre, expert.b1_EH, factor, act, n);
  if (act_sum != nullptr) sum_rows(act, nullptr, n, H, !first, act_sum + block.expert * H);
  drop(mlp, block, act, H, mlp.activation_dropout, mlp.activation_key);
  matmul({act, n, H}, matrix.w2.t(), out);
  const float* bias = expert.b2_ED;
  if (mlp.dropout > 0) {
    if (bias != nullptr) {
      parallel_for(0, n, std::max<int64_t>(1, 32768 / D), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) EVOMOE_VECTORIZED(add_row(out + r * D, bias, D));
      });
    }
    drop(mlp, block, out, D, mlp.dropout, mlp.output_key);
    bias = nullptr;
  }
  deliver(mlp, block, out, mlp.weight + block.begin, bias, to);
}

struct BackwardMemory {
  Buffer pre_NH, factor_NH, act_NH, grad_NH, grad_factor_NH, x_ND, grad_ND;
};

void backward_block(const ExpertMlp& mlp, const Block& block, bool first, const float* grad_y,
                    const ExpertHidden& kept, const ExpertMlpGradients& all, const Destination& to,
                    const BackwardMemory& memory) {
  const auto D = mlp.model_dim, H = mlp.hidden_dim, n = block.rows;
  const auto expert = of_expert(mlp, mlp.of_experts, mlp.step, block.expert);
  const auto grad = of_expert(mlp, all.of_experts, all.step, block.expert);
  const Matrices matrix(mlp, expert);
  const float* weight = mlp.weight + block.begin;
  float* act = memory.act_NH.get();
  float* grad_hidden = memory.grad_NH.get();
  float* grad_factor = memory.grad_factor_NH.get();

  const float* x = rows_of(mlp, block, mlp.x, memory.x_ND.get());
  float* pre = hidden_rows(mlp, block, kept.pre, memory.pre_NH);
  float* factor = mlp.gated() ? hidden_rows(mlp, block, kept.factor, memory.factor_NH) : nullptr;
  if (kept.pre == nullptr) {
    matmul({x, n, D}, matrix.w1.t(), pre);
    if (mlp.gated()) matmul({x, n, D}, matrix.w3.t(), factor);
  }
  // What was kept holds the bias already: without one it is only read.
  activate(mlp, pre, kept.pre == nullptr ? expert.b1_EH : nullptr, factor, act, n);

  const float* grad_out = rows_of(mlp, block, grad_y, memory.grad_ND.get());
  if (mlp.dropout > 0) {
    if (grad_out != memory.grad_ND.get()) std::copy_n(grad_out, n * D, memory.grad_ND.get());
    drop(mlp, block, memory.grad_ND.get(), D, mlp.dropout, mlp.output_key);
    grad_out = memory.grad_ND.get();
  }
  matmul({grad_out, n, D}, matrix.w2, grad_hidden);
  drop(mlp, block, grad_hidden, H, mlp.activation_dropout, mlp.activation_key);

  // The combine weight's gradient <grad_y, act w2^T + b2> as <grad_y w2, act> + <grad_y, b2>.
  float* grad_weight = all.weight + block.begin;
  if (mlp.gated()) {
    gated_activation_backward(grad_hidden, pre, factor, act, weight, grad_factor, grad_weight, n, H,
                              mlp.activation);
  } else {
    activation_backward(grad_hidden, pre, act, weight, grad_weight, n, H, mlp.activation);
  }
  if (expert.b2_ED != nullptr) {
    for (int64_t r = 0; r < n; ++r)
      grad_weight[r] += EVOMOE_VECTORIZED(dot(grad_out + r * D, expert.b2_ED, D));
  }
  drop(mlp, block, act, H, mlp.activation_dropout, mlp.activation_key);

  // act holds weight * act now, so the weight need not be multiplied into grad_out.
  if (grad.w2_EDH != nullptr)
    matmul(MatrixView{grad_out, n, D}.t(), {act, n, H}, grad.w2_EDH, !first);
  if (grad.b2_ED != nullptr) sum_rows(grad_out, weight, n, D, !first, grad.b2_ED);
  if (grad.w1_EHD != nullptr)
    matmul(MatrixView{grad_hidden, n, H}.t(), {x, n, D}, grad.w1_EHD, !first);
  if (grad.b1_EH != nullptr) sum_rows(grad_hidden, nullptr, n, H, !first, grad.b1_EH);
  if (grad.w3_EHD != nullptr)
    matmul(MatrixView{grad_factor, n, H}.t(), {x, n, D}, grad.w3_EHD, !first);
  float* grad_x =
      to.assignment_AD != nullptr ? to.assignment_AD + block.begin * D : memory.grad_ND.get();
  matmul({grad_hidden, n, H}, matrix.w1, grad_x);
  if (mlp.gated()) matmul({grad_factor, n, H}, matrix.w3, grad_x, /*add=*/true);
  deliver(mlp, block, grad_x, nullptr, nullptr, to);
}

/// The rows of the assignments lie in memory only where experts that run side by side share tokens.
Buffer staging(const ExpertMlp& mlp, const Shifts& shifts) {
  const bool shared = !shifts.short_experts.empty() && experts_share_tokens(mlp);
  return Buffer(shared ? mlp.assignments() * mlp.model_dim : 0);
}

void finish(const ExpertMlp& mlp, const Destination& to) {
  if (to.assignment_AD != nullptr) combine(mlp, to);
}

void begin(const ExpertMlp& mlp, const Destination& to) {
  if (to.assignment_AD == nullptr) std::fill_n(to.token_TD, mlp.tokens * mlp.model_dim, 0.0F);
}

}  // namespace

void expert_mlp_forward(const ExpertMlp& mlp, const ExpertHidden& hidden, float* y,
                        float* act_sum) {
  const auto D = mlp.model_dim, H = mlp.hidden_dim;
  const auto shifts = plan_shifts(mlp);
  const auto staged = staging(mlp, shifts);
  const Destination to{y, staged.get()};
  begin(mlp, to);
  if (act_sum != nullptr) std::fill_n(act_sum, mlp.experts * H, 0.0F);  // of experts without rows
  const auto make = [&](int64_t most_rows) {
    const auto rows = block_rows(mlp, most_rows);
    const auto pre = hidden.pre != nullptr ? 0 : rows * H;
    return ForwardMemory{Buffer(pre), Buffer(mlp.gated() ? pre : 0), Buffer(rows * H),
                         Buffer(rows * D)};
  };
  run_experts(mlp, shifts, make, [&](int64_t e, const ForwardMemory& memory) {
    for_each_block(mlp, e, [&](const Block& block, bool first) {
      forward_block(mlp, block, first, hidden, to, act_sum, memory);
    });
  });
  finish(mlp, to);
}

void expert_mlp_backward(const ExpertMlp& mlp, const float* grad_y, const ExpertHidden& hidden,
                         const ExpertMlpGradients& grad) {
  const auto D = mlp.model_dim, H = mlp.hidden_dim;
  for (int64_t e = 0; e < mlp.experts; ++e) {
    if (mlp.rows(e) > 0) continue;
    // Zeros, not nothing: the reference's optimiser moves an idle expert all the same.
    for_each_weight(
        [](float* its, int64_t size) {
          if (its != nullptr) std::fill_n(its, size, 0.0F);
        },
        of_expert(mlp, grad.of_experts, grad.step, e), sizes_of_one(mlp));
  }
  const auto shifts = plan_shifts(mlp);
  const auto staged = staging(mlp, shifts);
  const Destination to{grad.x, staged.get()};
  begin(mlp, to);
  const auto make = [&](int64_t most_rows) {
    const auto rows = block_rows(mlp, most_rows);
    const auto pre = hidden.pre != nullptr ? 0 : rows * H, of_gated = mlp.gated() ? rows * H : 0;
    return BackwardMemory{Buffer(pre),      Buffer(mlp.gated() ? pre : 0),
                          Buffer(rows * H), Buffer(rows * H),
                          Buffer(of_gated), Buffer(rows * D),
                          Buffer(rows * D)};
  };
  run_experts(mlp, shifts, make, [&](int64_t e, const BackwardMemory& memory) {
    for_each_block(mlp, e, [&](const Block& block, bool first) {
      backward_block(mlp, block, first, grad_y, hidden, grad, to, memory);
    });
  });
  finish(mlp, to);
}

}  // namespace evomoe::kernels
