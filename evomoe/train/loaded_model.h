#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "evomoe/config/options.h"
#include "evomoe/data/byte_bpe.h"
#include "evomoe/data/dictionary.h"
#include "evomoe/models/gpt.h"

namespace evomoe {

/// A checkpoint made ready for use: evaluation, generation, information.
struct LoadedModel {
  std::filesystem::path path;
  nlohmann::json manifest;
  TrainOptions options;  ///< what it was trained with
  Dictionary dictionary;
  std::unique_ptr<ByteBpe> bpe;  ///< null: the text is words between white space
  Gpt model{nullptr};            ///< on the device, in evaluation mode
  torch::Device device = torch::kCPU;
  int64_t updates = 0;
};

/// What may replace the checkpoint's own settings.
struct LoadOptions {
  std::string data;  ///< folder of another dict.txt; empty: the run folder's
  BpeFiles bpe;
  std::optional<double> eval_capacity_fraction;
  CommonOptions common;
};

/// The training options stored in a manifest.
TrainOptions stored_options(const nlohmann::json& manifest);

/// Loads model and dictionary. Throws Error when the checkpoint cannot be read, is damaged, or its
/// dictionary has another size.
LoadedModel load_model(const std::filesystem::path& checkpoint, const LoadOptions& load);

}  // namespace evomoe
