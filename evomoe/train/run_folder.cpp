#include "evomoe/train/run_folder.h"

#include <ostream>

#include "evomoe/base/write_file.h"
#include "evomoe/config/describe.h"
#include "evomoe/data/language_model_data.h"

namespace evomoe {

void write_run_folder(const TrainOptions& options, const std::filesystem::path& folder) {
  TrainOptions copy = options;
  OptionTable table("train", "");
  describe(table, copy);
  write_file(folder / "config.yaml", [&](std::ostream& stream) { stream << table.to_yaml(); });
  const auto data = split_data_paths(options.data).front();
  for (const auto* name : {"dict.txt", "encoder.json", "vocab.bpe"}) {
    if (std::filesystem::exists(data / name)) copy_file_to(data / name, folder / name);
  }
}

std::filesystem::path run_folder_of(const std::filesystem::path& checkpoint) {
  auto path = std::filesystem::absolute(checkpoint).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // of a slash at the end
  return path.parent_path();
}

Dictionary dictionary_of(const std::filesystem::path& checkpoint, const std::string& data) {
  if (!data.empty()) return load_data_dictionary(data);
  return Dictionary::load(run_folder_of(checkpoint) / "dict.txt");
}

std::unique_ptr<ByteBpe> bpe_of(const std::filesystem::path& checkpoint, const BpeFiles& files) {
  const auto folder = run_folder_of(checkpoint);
  std::filesystem::path encoder = folder / "encoder.json", merges = folder / "vocab.bpe";
  if (files.gpt2_encoder_json) encoder = *files.gpt2_encoder_json;
  if (files.gpt2_vocab_bpe) merges = *files.gpt2_vocab_bpe;
  if (!files.gpt2_encoder_json && !std::filesystem::exists(encoder)) return nullptr;
  return std::make_unique<ByteBpe>(ByteBpe::load(encoder, merges));
}

LanguageModelDatasetOptions language_model_dataset_options(const TrainOptions& options) {
  LanguageModelDatasetOptions dataset;
  dataset.tokens_per_sample = options.task.tokens_per_sample;
  dataset.break_mode = parse_break_mode(options.task.sample_break_mode);
  dataset.add_bos_token = options.task.add_bos_token;
  dataset.pad_to_fixed_length = options.task.pad_to_fixed_length;
  dataset.pad_to_batch_size =
      options.task.pad_to_fixed_bsz ? options.dataset.batch_size.value_or(0) : 0;
  return dataset;
}

}  // namespace evomoe
