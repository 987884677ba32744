#include "evomoe/train/run_folder.h"

#include <ostream>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/base/write_file.h"
#include "evomoe/config/describe.h"
#include "evomoe/data/language_model_data.h"

namespace evomoe {
namespace {

/// Of source and target, below a data folder. In a run folder they lie at its top.
std::vector<std::string> dictionary_names(const TaskOptions& task) {
  if (task.task == "translation") {
    return {"dict." + task.source_lang.value_or("source") + ".txt",
            "dict." + task.target_lang.value_or("target") + ".txt"};
  }
  if (task.task == "sentence_prediction") return {"input0/dict.txt"};
  return {"dict.txt"};
}

}  // namespace

void write_run_folder(const TrainOptions& options, const std::filesystem::path& folder) {
  TrainOptions copy = options;
  OptionTable table("train", "");
  describe(table, copy);
  write_file(folder / "config.yaml", [&](std::ostream& stream) { stream << table.to_yaml(); });
  const auto data = split_data_paths(options.data).front();
  std::vector<std::string> names = {"encoder.json", "vocab.bpe"};
  for (const auto& name : dictionary_names(options.task)) names.push_back(name);
  for (const auto& name : names) {
    const auto to = folder / std::filesystem::path(name).filename();
    if (std::filesystem::exists(data / name)) copy_file_to(data / name, to);
  }
}

std::filesystem::path run_folder_of(const std::filesystem::path& checkpoint) {
  auto path = std::filesystem::absolute(checkpoint).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // of a slash at the end
  return path.parent_path();
}

Dictionaries dictionaries_of(const std::filesystem::path& checkpoint, const std::string& data,
                             const TaskOptions& task) {
  const auto names = dictionary_names(task);
  const auto load = [&](const std::string& name) {
    if (data.empty())
      return Dictionary::load(run_folder_of(checkpoint) /
                              std::filesystem::path(name).filename());
    const auto folder = split_data_paths(data).front();
    EVOMOE_CHECK(std::filesystem::exists(folder / name),
                 "{} is not there; give the folder of the data it was trained on, or none to use "
                 "the dictionary beside {}",
                 (folder / name).string(), checkpoint.string());
    return Dictionary::load(folder / name);
  };
  Dictionaries dictionaries{load(names.front()), load(names.back())};
  if (task.task == "masked_lm" || task.task == "sentence_prediction") {
    for (auto* dictionary : {&dictionaries.source, &dictionaries.target}) dictionary->add("<mask>");
  }
  return dictionaries;
}

std::unique_ptr<ByteBpe> bpe_of(const std::filesystem::path& checkpoint, const BpeFiles& files) {
  const auto folder = run_folder_of(checkpoint);
  std::filesystem::path encoder = folder / "encoder.json", merges = folder / "vocab.bpe";
  if (files.gpt2_encoder_json) encoder = *files.gpt2_encoder_json;
  if (files.gpt2_vocab_bpe) merges = *files.gpt2_vocab_bpe;
  if (!files.gpt2_encoder_json && !std::filesystem::exists(encoder)) return nullptr;
  return std::make_unique<ByteBpe>(ByteBpe::load(encoder, merges));
}

}  // namespace evomoe
