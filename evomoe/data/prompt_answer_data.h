#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "evomoe/data/data_folders.h"
#include "evomoe/data/prompt_answer_dataset.h"
#include "evomoe/data/task_data.h"

namespace evomoe {

/// Data for learning answers to prompts, as `evomoe preprocess --examples` makes it: dict.txt, and
/// for each split `{split}.prompt.{bin,idx}` and `{split}.answer.{bin,idx}`.
class PromptAnswerData : public TaskData {
 public:
  /// Reads the dictionary of the first folder. An Error when a folder is missing. `packed_tokens`:
  /// rows of training hold several examples, up to so many tokens; 0: one.
  PromptAnswerData(const std::string& paths, const PromptAnswerDatasetOptions& options,
                   int64_t packed_tokens = 0);

  const Dictionary& source_dictionary() const override { return dictionary_; }
  std::shared_ptr<const Dataset> train(int64_t epoch, const std::string& split) override;
  /// There are no rows of padding here: `pad_to_batch_size` other than 0 is a UsageError.
  std::shared_ptr<const Dataset> open(const std::string& split, bool combine,
                                      int64_t pad_to_batch_size) override;
  std::vector<std::string> unused_valid_splits(const std::vector<std::string>& used) const override;

  /// A split for one who answers its prompts.
  std::shared_ptr<const Dataset> open_prompts(const std::string& split);

 private:
  std::shared_ptr<const PromptAnswerDataset> open_split(const std::filesystem::path& folder,
                                                        const std::string& split, bool combine,
                                                        const char* remedy);

  std::vector<std::filesystem::path> paths_;
  PromptAnswerDatasetOptions options_;
  int64_t packed_tokens_;
  Dictionary dictionary_;
  TokenFiles files_;
  /// By prefix.
  std::map<std::filesystem::path, std::shared_ptr<const Dataset>> train_;
};

}  // namespace evomoe
