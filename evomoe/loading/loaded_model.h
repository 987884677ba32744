#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/models/encoder_decoder.h"
#include "evomoe/models/gpt.h"
#include "evomoe/models/model.h"
#include "evomoe/text/bpe_options.h"
#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// A checkpoint made ready for use: evaluation, generation, information.
struct LoadedModel {
  std::filesystem::path path;
  TrainOptions options;          ///< what it was trained with
  Dictionary dictionary;         ///< of what it predicts
  Dictionary source_dictionary;  ///< of what it reads; the same, but in translation
  std::unique_ptr<ByteBpe> bpe;  ///< null: the text is words between white space
  ModelPtr model;                ///< on the device, in evaluation mode
  torch::Device device = torch::kCPU;
  int64_t updates = 0;

  /// The model as a decoder-only language model, or as an encoder-decoder. Error for another one,
  /// which names the checkpoint and what `command` needs.
  Gpt language_model(const std::string& command) const;
  EncoderDecoder encoder_decoder(const std::string& command) const;
};

/// For a checkpoint whose tensors are not those of the model that its own options make.
inline constexpr const char* kOtherModelRemedy =
    "its own options make a model without these differences, so it was changed, or it was written "
    "by a program whose model has other parts; use the program that wrote it";

/// What may replace the checkpoint's own settings.
struct LoadOptions {
  std::string data;  ///< folder of another dict.txt; empty: the run folder's
  BpeFiles bpe;
  std::optional<double> eval_capacity_fraction;
  std::string dtype = "float32";  ///< of the matrices: or bfloat16, on the CPU
  CommonOptions common;
};

/// Loads model and dictionary, of a checkpoint of ours or of fairseq (x.pt; its dictionary and BPE
/// are those of `load.data`, else of the data folder that it names). Throws Error when the
/// checkpoint cannot be read, is damaged, or its dictionary has another size.
LoadedModel load_model(const std::filesystem::path& checkpoint, const LoadOptions& load);

/// The checkpoints of an ensemble, `a:b:c`; one that exists under the whole name is that one. Error
/// naming both where one is not of the first one's task, languages and dictionaries, or reads its
/// input in another way.
std::vector<LoadedModel> load_models(const std::string& checkpoints, const LoadOptions& load);

}  // namespace evomoe
