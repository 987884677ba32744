#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evomoe/checkpoint/safetensors.h"
#include "evomoe/data/dataset.h"
#include "evomoe/train/options.h"
#include "evomoe/train/trainer.h"

namespace evomoe::testing {

/// One whole training run of the authors' trainer (its README says how to read the files).
struct GoldenRun {
  std::string name;
  std::filesystem::path folder;
  nlohmann::json flags, updates, validations;
  TrainOptions options;  ///< from the run's own command line

  int64_t rows_of_moe(int64_t rows) const { return options.dataset.batch_size.value_or(rows); }
};

/// The runs below golden_training_dir(); empty when it is absent.
std::vector<std::string> golden_run_names();
GoldenRun read_golden_run(const std::string& name);

/// The reference's tensors under our names: experts stacked, derived and tied tensors left out.
TensorMap to_our_names(const TensorMap& reference, const GoldenRun& run);

/// Batch `prefix` ("u0001.m0", "b00") of a batches file; `masked`: of masked language modelling.
Batch stored_batch(const TensorMap& file, const std::string& prefix, bool masked = false);

/// Gumbel noise of a recorded run: from its noise file, else zero.
torch::Tensor golden_noise(const TensorMap& noise, int64_t update, int64_t micro_batch,
                           int64_t layer, int64_t rows, int64_t experts);

}  // namespace evomoe::testing
