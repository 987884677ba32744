#pragma once

#include <cstdint>

namespace evomoe::kernels {

/// The numbers of one update of Adafactor that are equal for all elements of a matrix or vector.
struct AdafactorScalars {
  double beta2;           ///< decay of the second moment at this step, 1 - t^decay_rate
  double eps;             ///< added to squared gradients
  double clip_threshold;  ///< largest root mean square of the update
  double lr;
  double decay;  ///< lr * weight decay
  double gradient_scale;
  double beta1;  ///< of the first moment, where there is one
};

/// Weights that are updated together: `matrices` of [rows, columns], row-major, one behind the
/// other; a vector has one row and no row statistics.
struct AdafactorShape {
  int64_t matrices, rows, columns;
  int64_t size() const { return matrices * rows * columns; }
};

/// One update with a factored second moment: `row` [matrices, rows] and `column` [matrices,
/// columns] are running means of g^2 + eps, and the update is g / sqrt(row x column / mean(row)),
/// divided by what its root mean square over all `matrices` exceeds the threshold by. `m`: the
/// first moment of the weights' size, or null. The same bits for any number of threads.
void adafactor_matrix(float* p, const float* g, float* row, float* column, float* m,
                      const AdafactorShape& shape, const AdafactorScalars& scalars);

/// The same with the whole second moment `v`.
void adafactor_vector(float* p, const float* g, float* v, float* m, int64_t size,
                      const AdafactorScalars& scalars);

}  // namespace evomoe::kernels
