#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/data/data_folders.h"
#include "evomoe/data/sentence_prediction_dataset.h"
#include "evomoe/data/task_data.h"

namespace evomoe {

struct SentencePredictionDataOptions {
  int64_t num_classes = 0;  ///< of the model
  bool regression = false;  ///< labels are numbers
  SentencePredictionDatasetOptions rows;
};

/// Data for classifying sentences or pairs of them, as fairseq's GLUE preparation lays it out:
/// folders `input0`, `input1` (none: single sentences) and `label` of one data folder, each with
/// dict.txt and splits. Class c is the label's symbol 4 + c. Of a regression `label` has the files
/// `SPLIT.label` instead, with a number in each line.
class SentencePredictionData : public TaskData {
 public:
  /// Reads the dictionaries. Fewer classes than labels are a UsageError that lists the labels.
  SentencePredictionData(const std::string& path, SentencePredictionDataOptions options);

  /// Of the sentences, with `<mask>` behind it, so that it is the one of the pre-trained model.
  const Dictionary& source_dictionary() const override { return dictionary_; }

  std::shared_ptr<const Dataset> train(int64_t epoch, const std::string& split) override;
  /// The labels must be there. `pad_to_batch_size` other than 0 is a UsageError.
  std::shared_ptr<const Dataset> open(const std::string& split, bool combine,
                                      int64_t pad_to_batch_size) override;
  std::vector<std::string> unused_valid_splits(const std::vector<std::string>& used) const override;

  /// As open(), for one who predicts: the labels may be missing.
  std::shared_ptr<const SentencePredictionDataset> open_rows(const std::string& split, bool combine,
                                                             int64_t epoch = 1);

 private:
  void read_classes();
  std::vector<int64_t> classes_of(const TokenStream& labels) const;
  /// Null when the split has none.
  std::shared_ptr<const SentenceLabels> labels_of(const std::string& split, bool combine);
  void require_labels(const SentencePredictionDataset& rows, const std::string& split) const;

  std::filesystem::path folder_;
  SentencePredictionDataOptions options_;
  Dictionary dictionary_, labels_;  ///< labels_ only of classes
  std::vector<std::string>
      label_names_;  ///< of the classes, without those that fill the dictionary
  TokenFiles files_;
  int64_t train_epoch_ = 0;
  std::string train_split_;
  std::shared_ptr<const SentencePredictionDataset> train_;  ///< what train() gave last
};

}  // namespace evomoe
