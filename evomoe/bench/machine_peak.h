#pragma once

#include <string>

namespace evomoe::bench {

/// What this machine can do at best, measured in this process: the yardstick of everything else. A
/// machine's speed changes by the hour, so it is measured again before each case and the best so
/// far is kept.
class MachinePeak {
 public:
  /// `seconds`: time that a measurement of the matrix product takes; 0: each product once.
  explicit MachinePeak(double seconds) : seconds_(seconds) {}

  /// Several large float32 matrix products in two layouts, and reading and copying memory.
  void measure();

  double sgemm_gflops() const { return sgemm_gflops_; }
  /// The product that was fastest: 2048x2048x2048 nt.
  const std::string& sgemm_shape() const { return sgemm_shape_; }
  /// 10^9 bytes a second, read and written ones alike.
  double memory_gbs() const { return memory_gbs_; }

 private:
  void measure_sgemm();
  void measure_memory();

  double seconds_;
  double sgemm_gflops_ = 0;
  std::string sgemm_shape_;
  double memory_gbs_ = 0;
};

}  // namespace evomoe::bench
