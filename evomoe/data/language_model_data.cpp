#include "evomoe/data/language_model_data.h"

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/data/indexed_dataset.h"

namespace evomoe {
namespace {

/// The names of the indexed splits of a folder, sorted.
std::vector<std::string> splits_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".idx") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::vector<std::filesystem::path> split_data_paths(const std::string& paths) {
  std::vector<std::filesystem::path> parts;
  for (size_t begin = 0; begin <= paths.size();) {
    const size_t end = std::min(paths.find(':', begin), paths.size());
    if (end == begin)
      fail_usage("data path `{}` has an empty part; write `folder` or `a:b:c`", paths);
    parts.emplace_back(paths.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Dictionary load_data_dictionary(const std::string& paths) {
  const auto folder = split_data_paths(paths).front();
  EVOMOE_CHECK(std::filesystem::is_directory(folder),
               "the data folder {} is not there; make it with `evomoe preprocess --destdir {}`",
               folder.string(), folder.string());
  const auto file = folder / "dict.txt";
  EVOMOE_CHECK(std::filesystem::exists(file),
               "{} is not there: {} is no folder made by `evomoe preprocess`; check the path",
               file.string(), folder.string());
  return Dictionary::load(file);
}

LanguageModelData::LanguageModelData(const std::string& paths, LanguageModelDatasetOptions options)
    : paths_(split_data_paths(paths)), options_(options), dictionary_(load_data_dictionary(paths)) {
  for (const auto& path : paths_) {
    EVOMOE_CHECK(std::filesystem::is_directory(path),
                 "the data folder {} is not there (data path `{}`)", path.string(), paths);
  }
}

std::shared_ptr<const LanguageModelDataset> LanguageModelData::open_at(
    const std::filesystem::path& folder, const std::string& split, bool combine,
    const LanguageModelDatasetOptions& options) const {
  std::vector<std::shared_ptr<const TokenStream>> parts;
  for (int64_t part = 0; part == 0 || combine; ++part) {
    const auto prefix = folder / (part == 0 ? split : split + std::to_string(part));
    if (!token_file_exists(prefix)) break;
    parts.push_back(open_tokens(prefix, dictionary_));
    parts.back()->check_tokens(dictionary_.size());
    log().info("loaded {} items, {} tokens from {}", parts.back()->items(), parts.back()->tokens(),
               prefix.string());
  }
  if (parts.empty()) {
    const auto names = splits_in(folder);
    fail("split `{}` is not in {}; {}", split, folder.string(),
         names.empty() ? "the folder holds no .idx file, make it with `evomoe preprocess`"
                       : fmt::format("there are: {}", fmt::join(names, ", ")));
  }
  auto stream = parts.front();
  if (parts.size() > 1) stream = std::make_shared<ConcatenatedStream>(std::move(parts));
  return std::make_shared<LanguageModelDataset>(std::move(stream), dictionary_.size(), options);
}

std::shared_ptr<const LanguageModelDataset> LanguageModelData::train(int64_t epoch,
                                                                     const std::string& split) {
  const int64_t shard = (epoch - 1) % shards();
  if (shard != train_shard_) {
    train_ = open_at(paths_[shard], split, /*combine=*/true, options_);
    train_shard_ = shard;
  }
  return train_;
}

std::shared_ptr<const LanguageModelDataset> LanguageModelData::open(
    const std::string& split, bool combine, int64_t pad_to_batch_size) const {
  auto options = options_;
  options.pad_to_batch_size = pad_to_batch_size;
  return open_at(paths_.front(), split, combine, options);
}

std::vector<std::string> LanguageModelData::unused_valid_splits(
    const std::vector<std::string>& used) const {
  std::vector<std::string> unused;
  for (const auto& name : splits_in(paths_.front())) {
    const bool numbered = name.starts_with("valid") && name.size() > 5 &&
                          name.find_first_not_of("0123456789", 5) == std::string::npos;
    if (numbered && std::find(used.begin(), used.end(), name) == used.end()) unused.push_back(name);
  }
  return unused;
}

}  // namespace evomoe
