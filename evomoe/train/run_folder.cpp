#include "evomoe/train/run_folder.h"

#include <ostream>
#include <vector>

#include "evomoe/base/write_file.h"
#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/checkpoint/fairseq_checkpoint.h"
#include "evomoe/config/option_table.h"
#include "evomoe/data/data_folders.h"
#include "evomoe/data/masked_language_model_data.h"

namespace evomoe {
namespace {

/// Of source and target; in a data folder (of sentence_prediction: in its input0), and in a run
/// folder at its top.
std::vector<std::string> dictionary_names(const TaskOptions& task) {
  if (task.task != "translation") return {"dict.txt"};
  return {"dict." + task.source_lang.value_or("source") + ".txt",
          "dict." + task.target_lang.value_or("target") + ".txt"};
}

std::filesystem::path dictionary_folder(const std::string& data, const TaskOptions& task) {
  const auto folder = split_data_paths(data).front();
  return task.task == "sentence_prediction" ? folder / "input0" : folder;
}

}  // namespace

void write_run_folder(const TrainOptions& options, const std::filesystem::path& folder) {
  TrainOptions copy = options;
  OptionTable table("train", "");
  describe(table, copy);
  write_file(folder / "config.yaml", [&](std::ostream& stream) { stream << table.to_yaml(); });
  const auto copy_from = [&](const std::filesystem::path& from, const std::string& name) {
    if (std::filesystem::exists(from / name)) copy_file_to(from / name, folder / name);
  };
  const auto data = split_data_paths(options.data).front();
  for (const auto* name : {"encoder.json", "vocab.bpe"}) copy_from(data, name);
  for (const auto& name : dictionary_names(options.task))
    copy_from(dictionary_folder(options.data, options.task), name);
}

std::filesystem::path named_checkpoint(const std::filesystem::path& given) {
  if (given.extension() != ".pt") return given;
  const auto ours = std::filesystem::path(given).replace_extension();
  if (checkpoint_or_remains_exist(ours)) return ours;
  if (is_fairseq_checkpoint(given)) return given;
  // The reference names a mixture of experts by one of its files, which are one checkpoint here.
  const std::string part = "-rank-0", name = ours.string();
  const std::filesystem::path whole =
      name.ends_with(part) ? name.substr(0, name.size() - part.size()) : name;
  if (checkpoint_or_remains_exist(whole)) return whole;
  return std::filesystem::exists(ours) ? ours : given;
}

std::filesystem::path run_folder_of(const std::filesystem::path& checkpoint) {
  auto path = std::filesystem::absolute(checkpoint).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // of a slash at the end
  return path.parent_path();
}

Dictionaries dictionaries_of(const std::filesystem::path& checkpoint, const std::string& data,
                             const TaskOptions& task) {
  const auto folder = data.empty() ? run_folder_of(checkpoint) : dictionary_folder(data, task);
  if (task.task == "masked_lm" || task.task == "sentence_prediction") {
    const auto dictionary = load_masked_dictionary(folder);
    return {dictionary, dictionary};
  }
  const auto names = dictionary_names(task);
  return {load_dictionary_of(folder, names.front()), load_dictionary_of(folder, names.back())};
}

std::unique_ptr<ByteBpe> bpe_in(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "encoder.json")) return nullptr;
  return std::make_unique<ByteBpe>(ByteBpe::load(folder / "encoder.json", folder / "vocab.bpe"));
}

std::unique_ptr<ByteBpe> bpe_of(const std::filesystem::path& checkpoint, const std::string& data,
                                const BpeFiles& files) {
  if (files.gpt2_encoder_json) {  // and then both, as validate_options() saw to
    return std::make_unique<ByteBpe>(
        ByteBpe::load(*files.gpt2_encoder_json, files.gpt2_vocab_bpe.value()));
  }
  auto bpe = bpe_in(run_folder_of(checkpoint));
  return bpe || data.empty() ? std::move(bpe) : bpe_in(split_data_paths(data).front());
}

}  // namespace evomoe
