#include "evomoe/data/sentence_prediction_data.h"

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/data/label_numbers.h"
#include "evomoe/data/masked_language_model_data.h"

namespace evomoe {
namespace {

std::filesystem::path one_folder(const std::string& path) {
  const auto folders = open_data_paths(path);
  if (folders.size() != 1) {
    fail_usage("data path `{}`: sentence_prediction reads one folder; give one", path);
  }
  return folders.front();
}

/// The numbers of a regression's split; `combine`: with those of split1, split2, ... behind them.
std::vector<float> numbers_of(const std::filesystem::path& folder, const std::string& split,
                              bool combine) {
  std::vector<float> numbers;
  for (int64_t part = 0; part == 0 || combine; ++part) {
    const auto path = folder / (numbered_split(split, part) + ".label");
    if (!std::filesystem::exists(path)) break;
    const auto more = read_label_numbers(path);
    numbers.insert(numbers.end(), more.begin(), more.end());
  }
  return numbers;
}

}  // namespace

SentencePredictionData::SentencePredictionData(const std::string& path,
                                               SentencePredictionDataOptions options)
    : folder_(one_folder(path)),
      options_(options),
      dictionary_(load_masked_dictionary(folder_ / "input0")) {
  if (!options_.regression) read_classes();
  for (const auto& token : {options_.rows.init_token, options_.rows.separator_token}) {
    if (token && (*token < 0 || *token >= dictionary_.size())) {
      fail_usage("--init-token and --separator-token: {} is outside the dictionary of {} symbols",
                 *token, dictionary_.size());
    }
  }
}

void SentencePredictionData::read_classes() {
  labels_ = load_dictionary_of(folder_ / "label", "dict.txt");
  for (int64_t i = Dictionary::kSpecials; i < labels_.size(); ++i) {
    if (!labels_.symbol(i).starts_with("madeupword")) label_names_.push_back(labels_.symbol(i));
  }
  const auto labels = static_cast<int64_t>(label_names_.size());
  if (options_.num_classes < labels) {
    fail_usage("--num-classes is {}, but {} has {} labels: {}; give --num-classes {}",
               options_.num_classes, (folder_ / "label").string(), labels,
               fmt::join(label_names_, ", "), labels);
  }
  if (options_.num_classes > labels) {
    log().warn("--num-classes is {}, but {} has only the labels {}", options_.num_classes,
               (folder_ / "label").string(), fmt::join(label_names_, ", "));
  }
}

std::vector<int64_t> SentencePredictionData::classes_of(const TokenStream& labels) const {
  std::vector<int64_t> classes;
  for (int64_t i = 0; i < labels.items(); ++i) {
    auto tokens = labels.item(i);
    std::erase(tokens, Dictionary::kEos);
    EVOMOE_CHECK(tokens.size() == 1, "{}: row {} has {} labels; it needs one", labels.name(), i,
                 tokens.size());
    const int64_t label = tokens[0] - Dictionary::kSpecials;
    EVOMOE_CHECK(label >= 0 && label < options_.num_classes,
                 "{}: the label of row {} is `{}`, which is none of the {} classes: {}",
                 labels.name(), i, labels_.symbol(tokens[0]), options_.num_classes,
                 fmt::join(label_names_, ", "));
    classes.push_back(label);
  }
  return classes;
}

std::shared_ptr<const SentenceLabels> SentencePredictionData::labels_of(const std::string& split,
                                                                        bool combine) {
  const auto folder = folder_ / "label";
  SentenceLabels labels;
  if (options_.regression) {
    labels.name = (folder / (split + ".label")).string();
    if (!std::filesystem::exists(labels.name)) return nullptr;
    labels.numbers = numbers_of(folder, split, combine);
  } else {
    const auto tokens = files_.open_split(folder, split, combine, labels_);
    if (!tokens) return nullptr;
    labels.name = tokens->name();
    labels.classes = classes_of(*tokens);
  }
  return std::make_shared<SentenceLabels>(std::move(labels));
}

void SentencePredictionData::require_labels(const SentencePredictionDataset& rows,
                                            const std::string& split) const {
  const auto labels = folder_ / "label";
  EVOMOE_CHECK(rows.has_labels(), "{}: its labels are not {}; training and validation need them",
               rows.name(),
               options_.regression
                   ? "there: --regression-target reads " + (labels / (split + ".label")).string()
                   : "in " + labels.string());
}

std::shared_ptr<const SentencePredictionDataset> SentencePredictionData::open_rows(
    const std::string& split, bool combine, int64_t epoch) {
  auto first = files_.open_split(folder_ / "input0", split, combine, dictionary_);
  if (!first) {
    fail_missing_split(folder_ / "input0", split, indexed_files(folder_ / "input0"), kOtherSplit);
  }
  std::shared_ptr<const TokenStream> second;
  if (std::filesystem::is_directory(folder_ / "input1")) {
    second = files_.open_split(folder_ / "input1", split, combine, dictionary_);
    if (!second) {
      fail_missing_split(folder_ / "input1", split, indexed_files(folder_ / "input1"), kOtherSplit);
    }
  }
  return std::make_shared<SentencePredictionDataset>(
      std::move(first), std::move(second), labels_of(split, combine), epoch, options_.rows);
}

std::shared_ptr<const Dataset> SentencePredictionData::train(int64_t epoch,
                                                             const std::string& split) {
  // Only a random crop makes one epoch differ from another.
  if (options_.rows.shorten != ShortenMethod::kRandomCrop) epoch = 1;
  if (train_ && train_epoch_ == epoch && train_split_ == split) return train_;
  auto rows = open_rows(split, /*combine=*/true, epoch);
  require_labels(*rows, split);
  train_epoch_ = epoch;
  train_split_ = split;
  return train_ = std::move(rows);
}

std::shared_ptr<const Dataset> SentencePredictionData::open(const std::string& split, bool combine,
                                                            int64_t pad_to_batch_size) {
  if (pad_to_batch_size != 0) {
    fail_usage("--pad-to-fixed-bsz is a flag of language modelling; leave it out here");
  }
  auto rows = open_rows(split, combine);
  require_labels(*rows, split);
  return rows;
}

std::vector<std::string> SentencePredictionData::unused_valid_splits(
    const std::vector<std::string>& used) const {
  return unused_among(indexed_files(folder_ / "input0"), used);
}

}  // namespace evomoe
