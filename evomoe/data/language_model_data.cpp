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

[[noreturn]] void fail_missing(const std::filesystem::path& folder, const std::string& split,
                               const char* remedy) {
  const auto names = splits_in(folder);
  fail("split `{}` is not in {}; {}", split, folder.string(),
       names.empty() ? "the folder holds no .idx file, make it with `evomoe preprocess`"
                     : fmt::format("there are: {}; {}", fmt::join(names, ", "), remedy));
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

std::shared_ptr<const TokenStream> LanguageModelData::open_file(
    const std::filesystem::path& prefix) {
  auto& file = files_[prefix];
  if (file) return file;
  auto opened = open_tokens(prefix, dictionary_);
  opened->check_tokens(dictionary_.size());
  log().info("loaded {} items, {} tokens from {}", opened->items(), opened->tokens(),
             prefix.string());
  return file = std::move(opened);
}

std::shared_ptr<const TokenStream> LanguageModelData::open_split(
    const std::filesystem::path& folder, const std::string& split, bool combine) {
  std::vector<std::shared_ptr<const TokenStream>> parts;
  for (int64_t part = 0; part == 0 || combine; ++part) {
    const auto prefix = folder / (part == 0 ? split : split + std::to_string(part));
    if (!token_file_exists(prefix)) break;
    parts.push_back(open_file(prefix));
  }
  if (parts.empty()) return nullptr;
  return parts.size() == 1 ? parts.front() : std::make_shared<ConcatenatedStream>(std::move(parts));
}

std::shared_ptr<const Dataset> LanguageModelData::train(int64_t epoch, const std::string& split) {
  auto& dataset = train_[paths_[(epoch - 1) % shards()] / split];
  if (!dataset)
    dataset = std::make_shared<LanguageModelDataset>(train_stream(epoch, split), options_);
  return dataset;
}

std::shared_ptr<const TokenStream> LanguageModelData::train_stream(int64_t epoch,
                                                                   const std::string& split) {
  const auto& folder = paths_[(epoch - 1) % shards()];
  auto stream = open_split(folder, split, /*combine=*/true);
  if (!stream) fail_missing(folder, split, "name another one with --train-subset");
  return stream;
}

std::shared_ptr<const TokenStream> LanguageModelData::stream(const std::string& split,
                                                             bool combine) {
  auto stream = open_split(paths_.front(), split, combine);
  if (!stream) {
    fail_missing(paths_.front(), split,
                 "name another one with --valid-subset (eval-lm: --gen-subset), or train without "
                 "validation by --disable-validation");
  }
  return stream;
}

std::shared_ptr<const LanguageModelDataset> LanguageModelData::open_blocks(
    const std::string& split, bool combine, int64_t pad_to_batch_size) {
  auto options = options_;
  options.pad_to_batch_size = pad_to_batch_size;
  return std::make_shared<LanguageModelDataset>(stream(split, combine), options);
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
