#include "evomoe/data/masked_language_model_data.h"

#include <algorithm>
#include <memory>

#include "evomoe/base/error.h"
#include "evomoe/text/bpe_folder.h"

namespace evomoe {
namespace {

/// Whether the symbols look like the ids of a BPE.
bool holds_bpe_ids(const Dictionary& dictionary) {
  int64_t numbers = 0;
  const int64_t symbols = dictionary.size() - Dictionary::kSpecials;
  for (int64_t i = Dictionary::kSpecials; i < dictionary.size(); ++i) {
    if (bpe_token_of(dictionary.symbol(i))) ++numbers;
  }
  return 2 * numbers > symbols;
}

std::unique_ptr<ByteBpe> load_bpe(const std::filesystem::path& folder,
                                  const Dictionary& dictionary) {
  auto bpe = bpe_in(folder);
  EVOMOE_CHECK(bpe != nullptr || !holds_bpe_ids(dictionary),
               "--mask-whole-words needs the BPE that {} was made with, and {} is not there; copy "
               "encoder.json and vocab.bpe (or tokenizer.json) into the folder",
               folder.string(), (folder / "vocab.bpe").string());
  return bpe;
}

}  // namespace

Dictionary load_masked_dictionary(const std::filesystem::path& folder) {
  auto dictionary = load_dictionary_of(folder, "dict.txt");
  const int64_t last = dictionary.size() - 1;
  if (dictionary.symbol(last) == "<mask>") return dictionary;  // saved by a run of this task
  EVOMOE_CHECK(!dictionary.contains("<mask>"),
               "{}/dict.txt holds `<mask>` as symbol {} of {}, but it is a symbol of the task "
               "itself and must be the last; make the data again without it in the text",
               folder.string(), dictionary.index("<mask>"), dictionary.size());
  dictionary.add("<mask>");
  return dictionary;
}

MaskedLanguageModelData::MaskedLanguageModelData(const std::string& paths,
                                                 MaskedLanguageModelDataOptions options)
    : paths_(open_data_paths(paths)),
      options_(options),
      dictionary_(load_masked_dictionary(paths_.front())) {
  if (options.tokens_per_sample < 2) {
    fail_usage("--tokens-per-sample is {}; masked_lm needs room for <s> and a token, at least 2",
               options.tokens_per_sample);
  }
  std::unique_ptr<ByteBpe> bpe;
  if (options.masking.mask_whole_words) bpe = load_bpe(paths_.front(), dictionary_);
  masking_ = std::make_shared<TokenMasking>(options.masking, dictionary_, options.seed, bpe.get());
}

std::shared_ptr<const TokenBlocks> MaskedLanguageModelData::blocks_of(
    std::shared_ptr<const TokenStream> stream) const {
  return std::make_shared<TokenBlocks>(std::move(stream), options_.break_mode,
                                       options_.tokens_per_sample - 1);
}

std::shared_ptr<const Dataset> MaskedLanguageModelData::train(int64_t epoch,
                                                              const std::string& split) {
  if (train_ && train_epoch_ == epoch && train_split_ == split) return train_;
  const auto& folder = paths_[(epoch - 1) % static_cast<int64_t>(paths_.size())];
  auto& blocks = train_blocks_[folder / split];
  if (!blocks) {
    auto stream = files_.open_split(folder, split, /*combine=*/true, dictionary_);
    if (!stream) fail_missing_split(folder, split, indexed_files(folder), kOtherTrainSplit);
    blocks = blocks_of(std::move(stream));
  }
  train_ = std::make_shared<MaskedLanguageModelDataset>(blocks, masking_, epoch,
                                                        options_.tokens_per_sample);
  train_epoch_ = epoch;
  train_split_ = split;
  return train_;
}

std::shared_ptr<const Dataset> MaskedLanguageModelData::open(const std::string& split, bool combine,
                                                             int64_t pad_to_batch_size) {
  const auto& folder = paths_.front();
  auto stream = files_.open_split(folder, split, combine, dictionary_);
  if (!stream) fail_missing_split(folder, split, indexed_files(folder), kOtherSplit);
  // fairseq never tells a validation split its epoch: it stays at the first.
  return std::make_shared<MaskedLanguageModelDataset>(blocks_of(std::move(stream)), masking_,
                                                      /*epoch=*/1, options_.tokens_per_sample,
                                                      pad_to_batch_size);
}

std::vector<std::string> MaskedLanguageModelData::unused_valid_splits(
    const std::vector<std::string>& used) const {
  return unused_among(indexed_files(paths_.front()), used);
}

}  // namespace evomoe
