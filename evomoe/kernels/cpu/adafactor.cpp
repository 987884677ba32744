#include "evomoe/kernels/cpu/adafactor.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "evomoe/kernels/cpu/square_root.h"
#include "evomoe/kernels/cpu/vectorize.h"
#include "evomoe/kernels/parallel_for.h"

// As in adam.cpp: each vector unit gives the same bits.
#if defined(__clang__)
#pragma clang fp contract(off)
#endif

namespace evomoe::kernels {
namespace {

constexpr int64_t kLanes = 8;

/// Elements that one thread goes through at a time, in whole rows. Fixed, as all sums are formed
/// from those of such blocks in their order.
constexpr int64_t kBlock = 1 << 15;

int64_t rows_of_block(int64_t columns) { return std::max<int64_t>(1, kBlock / columns); }

/// Adds the squares of a row's gradients, each with eps, to the columns' sums; returns their sum.
EVOMOE_INLINE double add_squares(const float* __restrict g, double* __restrict column_sum,
                                 int64_t columns, float scale, float eps) {
  double lane[kLanes] = {};
  const int64_t whole = columns - columns % kLanes;
  for (int64_t c = 0; c < whole; c += kLanes) {
    for (int64_t i = 0; i < kLanes; ++i) {
      const float gradient = g[c + i] * scale;
      const auto square = static_cast<double>(gradient * gradient + eps);
      column_sum[c + i] += square;
      lane[i] += square;
    }
  }
  for (int64_t c = whole; c < columns; ++c) {
    const float gradient = g[c] * scale;
    const auto square = static_cast<double>(gradient * gradient + eps);
    column_sum[c] += square;
    lane[c - whole] += square;
  }
  double sum = 0;
  for (const double value : lane) sum += value;
  return sum;
}

/// The sum of squares of a row's update, g * row_factor * column_factor.
EVOMOE_INLINE double update_squares(const float* __restrict g, const float* __restrict factor,
                                    int64_t columns, float row_factor) {
  double lane[kLanes] = {};
  const int64_t whole = columns - columns % kLanes;
  for (int64_t c = 0; c < whole; c += kLanes) {
    for (int64_t i = 0; i < kLanes; ++i) {
      const auto update = static_cast<double>(g[c + i] * (row_factor * factor[c + i]));
      lane[i] += update * update;
    }
  }
  for (int64_t c = whole; c < columns; ++c) {
    const auto update = static_cast<double>(g[c] * (row_factor * factor[c]));
    lane[c - whole] += update * update;
  }
  double sum = 0;
  for (const double value : lane) sum += value;
  return sum;
}

/// The step of a row: its update has the factors and the step size in `row_factor`.
EVOMOE_INLINE void step_row(float* __restrict p, const float* __restrict g,
                            const float* __restrict factor, int64_t columns, float row_factor,
                            float decay) {
  for (int64_t c = 0; c < columns; ++c)
    p[c] = p[c] - decay * p[c] - g[c] * (row_factor * factor[c]);
}

EVOMOE_INLINE void step_row_with_moment(float* __restrict p, const float* __restrict g,
                                        const float* __restrict factor, float* __restrict m,
                                        int64_t columns, float row_factor, float decay, float beta1,
                                        float one_minus_beta1) {
  for (int64_t c = 0; c < columns; ++c) {
    m[c] = m[c] * beta1 + g[c] * (row_factor * factor[c]) * one_minus_beta1;
    p[c] = p[c] - decay * p[c] - m[c];
  }
}

EVOMOE_INLINE void second_moment(const float* __restrict g, float* __restrict v, int64_t size,
                                 float scale, float eps, float beta2, float one_minus_beta2) {
  for (int64_t i = 0; i < size; ++i) {
    const float gradient = g[i] * scale;
    v[i] = v[i] * beta2 + (gradient * gradient + eps) * one_minus_beta2;
  }
}

EVOMOE_INLINE void inverse_roots(const float* __restrict v, float* __restrict factor,
                                 int64_t size) {
  for (int64_t i = 0; i < size; ++i) factor[i] = 1.0F / square_root(v[i]);
}

/// A row, or a vector: its step, with or without a first moment.
void step(float* p, const float* g, const float* factor, float* m, int64_t columns,
          double row_factor, const AdafactorScalars& s) {
  const auto f = static_cast<float>(row_factor), decay = static_cast<float>(s.decay);
  if (m == nullptr) {
    EVOMOE_VECTORIZED(step_row(p, g, factor, columns, f, decay));
  } else {
    const auto beta1 = static_cast<float>(s.beta1);
    const auto rest = static_cast<float>(1.0 - s.beta1);
    EVOMOE_VECTORIZED(step_row_with_moment(p, g, factor, m, columns, f, decay, beta1, rest));
  }
}

/// lr over what the update's root mean square exceeds the threshold by.
double step_size(double squares, int64_t size, const AdafactorScalars& s) {
  const double rms = std::sqrt(squares / static_cast<double>(size));
  return s.lr / std::max(1.0, rms / s.clip_threshold);
}

double ordered_sum(const std::vector<double>& parts) {
  double sum = 0;
  for (const double part : parts) sum += part;
  return sum;
}

/// One matrix on its way through an update.
class Matrix {
 public:
  Matrix(const float* g, float* row, float* column, int64_t rows, int64_t columns,
         const AdafactorScalars& scalars)
      : g_(g), row_(row), column_(column), rows_(rows), columns_(columns), s_(scalars) {}

  /// Brings the running means up to date, and sets the factors of rows and columns from them.
  void update_means() {
    const auto block = rows_of_block(columns_), blocks = (rows_ + block - 1) / block;
    std::vector<double> row_sum(size(rows_)), column_sum(size(blocks * columns_));
    const auto scale = static_cast<float>(s_.gradient_scale), eps = static_cast<float>(s_.eps);
    parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin * block; r < std::min(end * block, rows_); ++r) {
        const float* g = g_ + r * columns_;
        double* sums = column_sum.data() + (r / block) * columns_;
        const int64_t columns = columns_;
        row_sum[size(r)] = EVOMOE_VECTORIZED(add_squares(g, sums, columns, scale, eps));
      }
    });
    double mean = 0;
    for (int64_t r = 0; r < rows_; ++r) {
      row_[r] = running(row_[r], row_sum[size(r)] / static_cast<double>(columns_));
      mean += static_cast<double>(row_[r]);
    }
    mean /= static_cast<double>(rows_);
    for (int64_t b = 1; b < blocks; ++b) {
      for (int64_t c = 0; c < columns_; ++c)
        column_sum[size(c)] += column_sum[size(b * columns_ + c)];
    }
    for (int64_t c = 0; c < columns_; ++c)
      column_[c] = running(column_[c], column_sum[size(c)] / static_cast<double>(rows_));
    row_factor_.resize(size(rows_));
    for (int64_t r = 0; r < rows_; ++r)
      row_factor_[size(r)] = std::sqrt(mean / static_cast<double>(row_[r])) * s_.gradient_scale;
    column_factor_.resize(size(columns_));
    const float* means = column_;
    float* factors = column_factor_.data();
    const int64_t columns = columns_;
    EVOMOE_VECTORIZED(inverse_roots(means, factors, columns));
  }

  double squares_of_update() const {
    const auto block = rows_of_block(columns_), blocks = (rows_ + block - 1) / block;
    std::vector<double> partial(size(blocks));
    parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin * block; r < std::min(end * block, rows_); ++r) {
        const float* g = g_ + r * columns_;
        const float* factors = column_factor_.data();
        const auto row_factor = static_cast<float>(row_factor_[size(r)]);
        const int64_t columns = columns_;
        partial[size(r / block)] +=
            EVOMOE_VECTORIZED(update_squares(g, factors, columns, row_factor));
      }
    });
    return ordered_sum(partial);
  }

  void apply(float* p, float* m, double lr) const {
    parallel_for(0, rows_, rows_of_block(columns_), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        step(p + r * columns_, g_ + r * columns_, column_factor_.data(),
             m == nullptr ? nullptr : m + r * columns_, columns_, row_factor_[size(r)] * lr, s_);
      }
    });
  }

 private:
  static size_t size(int64_t count) { return static_cast<size_t>(count); }
  float running(float before, double now) const {
    return static_cast<float>(static_cast<double>(before) * s_.beta2 + now * (1.0 - s_.beta2));
  }

  const float* g_;
  float *row_, *column_;
  int64_t rows_, columns_;
  const AdafactorScalars& s_;
  std::vector<double> row_factor_;
  std::vector<float> column_factor_;
};

}  // namespace

void adafactor_matrix(float* p, const float* g, float* row, float* column, float* m,
                      const AdafactorShape& shape, const AdafactorScalars& scalars) {
  if (shape.size() == 0) return;
  const auto each = shape.rows * shape.columns;
  std::vector<Matrix> matrices;
  double squares = 0;
  for (int64_t i = 0; i < shape.matrices; ++i) {
    matrices.emplace_back(g + i * each, row + i * shape.rows, column + i * shape.columns,
                          shape.rows, shape.columns, scalars);
    matrices.back().update_means();
    squares += matrices.back().squares_of_update();
  }
  const double lr = step_size(squares, shape.size(), scalars);
  for (int64_t i = 0; i < shape.matrices; ++i) {
    matrices[static_cast<size_t>(i)].apply(p + i * each, m == nullptr ? nullptr : m + i * each, lr);
  }
}

void adafactor_vector(float* p, const float* g, float* v, float* m, int64_t size,
                      const AdafactorScalars& s) {
  if (size == 0) return;
  const auto scale = static_cast<float>(s.gradient_scale), eps = static_cast<float>(s.eps);
  const auto beta2 = static_cast<float>(s.beta2), rest = static_cast<float>(1.0 - s.beta2);
  std::vector<float> factor(static_cast<size_t>(size));
  const int64_t blocks = (size + kBlock - 1) / kBlock;
  std::vector<double> partial(static_cast<size_t>(blocks));
  parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const auto first = b * kBlock, count = std::min(kBlock, size - first);
      const float* gradient = g + first;
      float *moment = v + first, *factors = factor.data() + first;
      EVOMOE_VECTORIZED(second_moment(gradient, moment, count, scale, eps, beta2, rest));
      EVOMOE_VECTORIZED(inverse_roots(moment, factors, count));
      partial[static_cast<size_t>(b)] =
          EVOMOE_VECTORIZED(update_squares(gradient, factors, count, scale));
    }
  });
  const double lr = step_size(ordered_sum(partial), size, s);
  parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const auto first = b * kBlock, count = std::min(kBlock, size - first);
      step(p + first, g + first, factor.data() + first, m == nullptr ? nullptr : m + first, count,
           s.gradient_scale * lr, s);
    }
  });
}

}  // namespace evomoe::kernels
