#include "evomoe/loading/run_folder.h"

#include <ostream>
#include <vector>

#include "evomoe/base/write_file.h"
#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/config/option_table.h"
#include "evomoe/data/data_folders.h"
#include "evomoe/fairseq/fairseq_checkpoint.h"
#include "evomoe/train/task.h"

namespace evomoe {

std::string config_yaml(const TrainOptions& options) {
  TrainOptions copy = options;
  OptionTable table("train", "");
  copy.describe(table);
  return table.to_yaml();
}

void write_run_folder(const TrainOptions& options, const std::filesystem::path& folder) {
  write_file(folder / "config.yaml", [&](std::ostream& stream) { stream << config_yaml(options); });
  const auto copy_from = [&](const std::filesystem::path& from, const std::string& name) {
    if (std::filesystem::exists(from / name)) copy_file_to(from / name, folder / name);
  };
  const auto data = split_data_paths(options.data).front();
  copy_bpe(std::filesystem::path(data), folder);
  const auto& task = find_task(options.task.task);
  for (const auto& name : task.dictionary_names(options.task)) {
    copy_from(task.dictionary_folder(data), name);
    copy_from(task.dictionary_folder(data), special_ids_file(name).string());
  }
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
                             const TaskOptions& options) {
  const auto& task = find_task(options.task);
  const auto folder = data.empty() ? run_folder_of(checkpoint)
                                   : task.dictionary_folder(split_data_paths(data).front());
  const auto names = task.dictionary_names(options);
  const auto source = task.load_dictionary(folder, names.front());
  return {source, names.size() > 1 ? task.load_dictionary(folder, names.back()) : source};
}

std::unique_ptr<ByteBpe> bpe_of(const std::filesystem::path& checkpoint, const std::string& data,
                                const BpeFiles& files) {
  if (files.bpe == "none") return nullptr;
  if (auto given = given_bpe(files)) return given;
  auto bpe = bpe_in(run_folder_of(checkpoint));
  return bpe || data.empty() ? std::move(bpe) : bpe_in(split_data_paths(data).front());
}

}  // namespace evomoe
