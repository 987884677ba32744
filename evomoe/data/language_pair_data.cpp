#include "evomoe/data/language_pair_data.h"

#include <algorithm>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/data/indexed_dataset.h"

namespace evomoe {
namespace {

/// What lies between the dots of `train.de-en.de`.
struct FileName {
  std::string split, source, target;
};

std::optional<FileName> parse_file_name(const std::string& name) {
  const size_t first = name.find('.');
  if (first == std::string::npos) return std::nullopt;
  const size_t second = std::min(name.find('.', first + 1), name.size());
  const auto pair = name.substr(first + 1, second - first - 1);
  const size_t dash = pair.find('-');
  if (dash == std::string::npos || pair.find('-', dash + 1) != std::string::npos) {
    return std::nullopt;
  }
  return FileName{name.substr(0, first), pair.substr(0, dash), pair.substr(dash + 1)};
}

void require_target(const LanguagePairDataset& pairs, const std::string& target_lang) {
  EVOMOE_CHECK(pairs.has_target(),
               "{}: its side in `{}` is not there, which training and validation need; make the "
               "data again without --only-source",
               pairs.name(), target_lang);
}

}  // namespace

std::pair<std::string, std::string> infer_language_pair(const std::filesystem::path& folder) {
  std::set<std::pair<std::string, std::string>> pairs;
  for (const auto& name : indexed_files(folder)) {
    if (const auto parsed = parse_file_name(name)) pairs.emplace(parsed->source, parsed->target);
  }
  EVOMOE_CHECK(!pairs.empty(),
               "{} holds no file named like `train.de-en.de.idx`, from which the languages could "
               "be known; make the data with `evomoe preprocess -s .. -t ..`, or give "
               "--source-lang and --target-lang",
               folder.string());
  if (pairs.size() > 1) {
    std::vector<std::string> names;
    for (const auto& [source, target] : pairs) names.push_back(source + "-" + target);
    fail_usage("{} holds the language pairs {}; say which with --source-lang and --target-lang",
               folder.string(), fmt::join(names, ", "));
  }
  return *pairs.begin();
}

LanguagePairData::LanguagePairData(const std::string& paths, LanguagePairDataOptions options)
    : paths_(open_data_paths(paths)), options_(std::move(options)) {
  if (options_.source_lang && options_.target_lang) {
    source_lang_ = *options_.source_lang;
    target_lang_ = *options_.target_lang;
  } else {
    const auto [source, target] = infer_language_pair(paths_.front());
    source_lang_ = options_.source_lang.value_or(source);
    target_lang_ = options_.target_lang.value_or(target);
    // One given language of a pair lets the other one follow, in both directions.
    if (options_.source_lang == target && !options_.target_lang) target_lang_ = source;
    if (options_.target_lang == source && !options_.source_lang) source_lang_ = target;
  }
  if (source_lang_ == target_lang_) {
    fail_usage("--source-lang and --target-lang are both `{}`; a translation needs two languages",
               source_lang_);
  }
  if (options_.upsample_primary < 1) {
    fail_usage("--upsample-primary is {}; it must be at least 1", options_.upsample_primary);
  }
  const auto& folder = paths_.front();
  source_dictionary_ = load_dictionary_of(folder, "dict." + source_lang_ + ".txt");
  target_dictionary_ = load_dictionary_of(folder, "dict." + target_lang_ + ".txt");
}

std::vector<std::string> LanguagePairData::splits_in(const std::filesystem::path& folder) const {
  std::set<std::string> splits;
  for (const auto& name : indexed_files(folder)) {
    const auto parsed = parse_file_name(name);
    if (!parsed) continue;
    const bool forth = parsed->source == source_lang_ && parsed->target == target_lang_;
    const bool back = parsed->source == target_lang_ && parsed->target == source_lang_;
    if (forth || back) splits.insert(parsed->split);
  }
  return {splits.begin(), splits.end()};
}

std::optional<PairFiles> LanguagePairData::open_part(const std::filesystem::path& folder,
                                                     const std::string& split) {
  for (const auto& pair : {source_lang_ + "-" + target_lang_, target_lang_ + "-" + source_lang_}) {
    const auto prefix = split + "." + pair + ".";
    const auto source = folder / (prefix + source_lang_);
    const auto target = folder / (prefix + target_lang_);
    if (!token_file_exists(source)) continue;
    PairFiles files{.source = files_.open(source, source_dictionary_), .target = nullptr};
    if (token_file_exists(target)) files.target = files_.open(target, target_dictionary_);
    return files;
  }
  return std::nullopt;
}

std::shared_ptr<const LanguagePairDataset> LanguagePairData::open_split(
    const std::filesystem::path& folder, const std::string& split, bool combine,
    const char* remedy) {
  std::vector<PairFiles> parts;
  for (int64_t part = 0; part == 0 || combine; ++part) {
    auto files = open_part(folder, numbered_split(split, part));
    if (!files) break;
    parts.push_back(std::move(*files));
  }
  if (parts.empty()) {
    fail_missing_split(folder, split + "." + source_lang_ + "-" + target_lang_, splits_in(folder),
                       remedy);
  }
  if (parts.size() > 1) parts.front().times = options_.upsample_primary;
  auto options = options_.pairs;
  options.shuffle = options.shuffle && split != "test";
  return std::make_shared<LanguagePairDataset>(std::move(parts), options);
}

std::shared_ptr<const Dataset> LanguagePairData::train(int64_t epoch, const std::string& split) {
  const auto& folder = paths_[(epoch - 1) % static_cast<int64_t>(paths_.size())];
  auto& dataset = train_[folder / split];
  if (!dataset) {
    dataset = open_split(folder, split, /*combine=*/true, kOtherTrainSplit);
    require_target(*dataset, target_lang_);
  }
  return dataset;
}

std::shared_ptr<const Dataset> LanguagePairData::open(const std::string& split, bool combine,
                                                      int64_t pad_to_batch_size) {
  if (pad_to_batch_size != 0) {
    fail_usage("--pad-to-fixed-bsz is a flag of language modelling; leave it out for translation");
  }
  auto pairs = open_pairs(split, combine);
  require_target(*pairs, target_lang_);
  return pairs;
}

std::shared_ptr<const LanguagePairDataset> LanguagePairData::open_pairs(const std::string& split,
                                                                        bool combine) {
  return open_split(paths_.front(), split, combine, kOtherSplit);
}

std::vector<std::string> LanguagePairData::unused_valid_splits(
    const std::vector<std::string>& used) const {
  return unused_among(splits_in(paths_.front()), used);
}

}  // namespace evomoe
