#include "evomoe/data/prompt_answer_data.h"

#include <optional>

#include "evomoe/base/error.h"
#include "evomoe/data/indexed_dataset.h"

namespace evomoe {
namespace {

/// The splits of a folder that have prompts.
std::vector<std::string> splits_in(const std::filesystem::path& folder) {
  static const std::string ending = ".prompt";
  std::vector<std::string> splits;
  for (const auto& name : indexed_files(folder)) {
    if (name.ends_with(ending)) splits.push_back(name.substr(0, name.size() - ending.size()));
  }
  return splits;
}

}  // namespace

PromptAnswerData::PromptAnswerData(const std::string& paths,
                                   const PromptAnswerDatasetOptions& options, int64_t packed_tokens)
    : paths_(open_data_paths(paths)),
      options_(options),
      packed_tokens_(packed_tokens),
      dictionary_(load_dictionary_of(paths_.front(), "dict.txt")) {}

std::shared_ptr<const PromptAnswerDataset> PromptAnswerData::open_split(
    const std::filesystem::path& folder, const std::string& split, bool combine,
    const char* remedy) {
  std::vector<std::shared_ptr<const TokenStream>> prompts, answers;
  for (int64_t part = 0; part == 0 || combine; ++part) {
    const auto prefix = folder / numbered_split(split, part);
    const auto prompt = prefix.string() + ".prompt", answer = prefix.string() + ".answer";
    if (!token_file_exists(prompt)) {
      EVOMOE_CHECK(!token_file_exists(answer), "{} is there, but {} is not; make the data again",
                   answer, prompt);
      break;
    }
    EVOMOE_CHECK(token_file_exists(answer), "{} is there, but {} is not; make the data again",
                 prompt, answer);
    prompts.push_back(files_.open(prompt, dictionary_));
    answers.push_back(files_.open(answer, dictionary_));
  }
  if (prompts.empty()) {
    const auto there = splits_in(folder);
    EVOMOE_CHECK(!there.empty(),
                 "{} holds no prompts with answers ({}.prompt.idx, {}.answer.idx), which --task "
                 "supervised_finetuning reads; make them with `evomoe preprocess --examples`",
                 folder.string(), split, split);
    fail_missing_split(folder, split, there, remedy);
  }
  const auto joined = [](std::vector<std::shared_ptr<const TokenStream>> parts) {
    return parts.size() == 1 ? parts.front()
                             : std::make_shared<ConcatenatedStream>(std::move(parts));
  };
  return std::make_shared<PromptAnswerDataset>(joined(std::move(prompts)),
                                               joined(std::move(answers)), options_);
}

std::shared_ptr<const Dataset> PromptAnswerData::train(int64_t epoch, const std::string& split) {
  const auto& folder = paths_[(epoch - 1) % static_cast<int64_t>(paths_.size())];
  auto& dataset = train_[folder / split];
  if (!dataset) {
    auto examples = open_split(folder, split, /*combine=*/true, kOtherTrainSplit);
    if (packed_tokens_ > 0) {
      dataset = std::make_shared<PackedExamplesDataset>(std::move(examples), packed_tokens_);
    } else {
      dataset = std::move(examples);
    }
  }
  return dataset;
}

std::shared_ptr<const Dataset> PromptAnswerData::open(const std::string& split, bool combine,
                                                      int64_t pad_to_batch_size) {
  if (pad_to_batch_size != 0)
    fail_usage("--pad-to-fixed-bsz is a flag of language modelling; leave it out here");
  return open_split(paths_.front(), split, combine, kOtherSplit);
}

std::shared_ptr<const Dataset> PromptAnswerData::open_prompts(const std::string& split) {
  return std::make_shared<PromptDataset>(
      open_split(paths_.front(), split, /*combine=*/false, kOtherSplit));
}

std::vector<std::string> PromptAnswerData::unused_valid_splits(
    const std::vector<std::string>& used) const {
  return unused_among(splits_in(paths_.front()), used);
}

}  // namespace evomoe
