#include "evomoe/data/language_pair_data.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <regex>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/data/indexed_dataset.h"
#include "evomoe/data/language_model_data.h"

namespace evomoe {
namespace {

struct SplitName {
  std::string split, first, second;
};

/// The parts of the file names `split.a-b.lang.idx` of a folder.
std::vector<SplitName> splits_in(const std::filesystem::path& folder) {
  static const std::regex pattern(R"(([^.]+)\.([^.-]+)-([^.-]+)\.[^.]+(\.idx)?)");
  std::vector<SplitName> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    std::smatch match;
    if (std::regex_match(name, match, pattern)) names.push_back({match[1], match[2], match[3]});
  }
  std::sort(names.begin(), names.end(),
            [](const auto& a, const auto& b) { return a.split < b.split; });
  return names;
}

Dictionary load_dictionary(const std::filesystem::path& folder, const std::string& lang) {
  EVOMOE_CHECK(std::filesystem::is_directory(folder),
               "the data folder {} is not there; make it with `evomoe preprocess --destdir {}`",
               folder.string(), folder.string());
  const auto file = folder / ("dict." + lang + ".txt");
  if (!std::filesystem::exists(file)) {
    std::set<std::string> pairs;
    for (const auto& name : splits_in(folder)) pairs.insert(name.first + "-" + name.second);
    fail("{} is not there: {}; check --source-lang and --target-lang", file.string(),
         pairs.empty() ? folder.string() + " holds no data of language pairs"
                       : fmt::format("the data of {} is {}", folder.string(),
                                     fmt::join(pairs, ", ")));
  }
  return Dictionary::load(file);
}

}  // namespace

std::pair<std::string, std::string> languages_of(const std::filesystem::path& folder) {
  EVOMOE_CHECK(std::filesystem::is_directory(folder),
               "the data folder {} is not there; make it with `evomoe preprocess --destdir {}`",
               folder.string(), folder.string());
  const auto names = splits_in(folder);
  EVOMOE_CHECK(!names.empty(),
               "{} holds no file such as train.de-en.de.idx, from which the languages could be "
               "told; make the data with `evomoe preprocess -s de -t en`, or give --source-lang and "
               "--target-lang",
               folder.string());
  return {names.front().first, names.front().second};
}

LanguagePairData::LanguagePairData(const std::string& paths, const std::string& source_lang,
                                   const std::string& target_lang,
                                   const LanguagePairOptions& options, int64_t upsample_primary)
    : paths_(split_data_paths(paths)),
      source_lang_(source_lang),
      target_lang_(target_lang),
      options_(options),
      upsample_primary_(upsample_primary),
      source_dictionary_(load_dictionary(paths_.front(), source_lang)),
      target_dictionary_(load_dictionary(paths_.front(), target_lang)) {
  for (const auto& path : paths_) {
    EVOMOE_CHECK(std::filesystem::is_directory(path),
                 "the data folder {} is not there (data path `{}`)", path.string(), paths);
  }
}

std::filesystem::path LanguagePairData::prefix_of(const std::filesystem::path& folder,
                                                  const std::string& split) const {
  for (const auto& pair : {source_lang_ + "-" + target_lang_, target_lang_ + "-" + source_lang_}) {
    const auto prefix = folder / (split + "." + pair);
    if (token_file_exists(prefix.string() + "." + source_lang_)) return prefix;
  }
  return {};
}

std::shared_ptr<const TokenStream> LanguagePairData::open_file(const std::filesystem::path& prefix,
                                                               const Dictionary& dictionary) {
  auto& file = files_[prefix];
  if (file) return file;
  auto opened = open_tokens(prefix, dictionary);
  opened->check_tokens(dictionary.size());
  log().info("loaded {} items, {} tokens from {}", opened->items(), opened->tokens(),
             prefix.string());
  return file = std::move(opened);
}

std::shared_ptr<const LanguagePairDataset> LanguagePairData::open_split(
    const std::filesystem::path& folder, const std::string& split, bool combine, int64_t times) {
  std::vector<std::shared_ptr<const TokenStream>> sources, targets;
  for (int64_t part = 0; part == 0 || combine; ++part) {
    const auto prefix = prefix_of(folder, part == 0 ? split : split + std::to_string(part));
    if (prefix.empty()) break;
    const auto of_target = prefix.string() + "." + target_lang_;
    for (int64_t i = 0; i < (part == 0 ? times : 1); ++i) {
      sources.push_back(open_file(prefix.string() + "." + source_lang_, source_dictionary_));
      if (token_file_exists(of_target)) targets.push_back(open_file(of_target, target_dictionary_));
    }
    EVOMOE_CHECK(targets.empty() || targets.size() == sources.size(),
                 "{}: there is no {} side to it, as there is in the other files of the split",
                 prefix.string(), target_lang_);
  }
  if (sources.empty()) {
    std::set<std::string> names;
    for (const auto& name : splits_in(folder))
      names.insert(fmt::format("{} ({}-{})", name.split, name.first, name.second));
    fail("split `{}` of {}-{} is not in {}; {}", split, source_lang_, target_lang_, folder.string(),
         names.empty() ? "the folder holds no data of language pairs, make it with `evomoe "
                         "preprocess -s ... -t ...`"
                       : fmt::format("there are: {}; name another one with --train-subset, "
                                     "--valid-subset or --gen-subset",
                                     fmt::join(names, ", ")));
  }
  const auto joined = [](auto parts) -> std::shared_ptr<const TokenStream> {
    if (parts.empty()) return nullptr;
    if (parts.size() == 1) return parts.front();
    return std::make_shared<ConcatenatedStream>(std::move(parts));
  };
  return std::make_shared<LanguagePairDataset>(joined(std::move(sources)),
                                               joined(std::move(targets)), options_);
}

std::shared_ptr<const Dataset> LanguagePairData::train(int64_t epoch, const std::string& split) {
  const auto& folder = paths_[static_cast<size_t>(epoch - 1) % paths_.size()];
  auto& dataset = train_[folder / split];
  if (!dataset) dataset = open_split(folder, split, /*combine=*/true, upsample_primary_);
  EVOMOE_CHECK(dataset->has_target(), "{}: there is no {} side to train on", dataset->name(),
               target_lang_);
  return dataset;
}

std::shared_ptr<const LanguagePairDataset> LanguagePairData::open_pairs(const std::string& split,
                                                                        bool combine) {
  return open_split(paths_.front(), split, combine, /*times=*/1);
}

std::vector<std::string> LanguagePairData::unused_valid_splits(
    const std::vector<std::string>& used) const {
  std::set<std::string> unused;
  for (const auto& name : splits_in(paths_.front())) {
    const auto& split = name.split;
    const bool numbered = split.starts_with("valid") && split.size() > 5 &&
                          split.find_first_not_of("0123456789", 5) == std::string::npos;
    if (numbered && std::find(used.begin(), used.end(), split) == used.end()) unused.insert(split);
  }
  return {unused.begin(), unused.end()};
}

}  // namespace evomoe
