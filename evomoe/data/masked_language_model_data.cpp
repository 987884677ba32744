#include "evomoe/data/masked_language_model_data.h"

#include "evomoe/base/error.h"
#include "evomoe/data/byte_bpe.h"

namespace evomoe {
namespace {

MaskingOptions masking_of(const MaskedLanguageModelOptions& options, const Dictionary& dictionary,
                          const std::filesystem::path& folder) {
  auto masking = options.masking;
  if (!options.mask_whole_words) return masking;
  const auto encoder = folder / "encoder.json", merges = folder / "vocab.bpe";
  EVOMOE_CHECK(std::filesystem::exists(encoder) && std::filesystem::exists(merges),
               "--mask-whole-words needs data that was made with --bpe gpt2, and {} has no "
               "encoder.json and vocab.bpe; leave the flag out where the tokens are words already",
               folder.string());
  masking.word_begins = word_begins(dictionary, ByteBpe::load(encoder, merges));
  return masking;
}

}  // namespace

std::vector<bool> word_begins(const Dictionary& dictionary, const ByteBpe& bpe) {
  std::vector<bool> begins(static_cast<size_t>(dictionary.size()), true);
  for (int64_t i = Dictionary::kSpecials; i < dictionary.size(); ++i) {
    const auto& symbol = dictionary.symbol(i);
    // Symbols that stand for no BPE token are taken for words, as in fairseq.
    if (symbol.find_first_not_of("0123456789") != std::string::npos) continue;
    begins[static_cast<size_t>(i)] = bpe.bytes(std::stoi(symbol)).starts_with(" ");
  }
  return begins;
}

MaskedLanguageModelData::MaskedLanguageModelData(const std::string& paths,
                                                 const MaskedLanguageModelOptions& options)
    : text_(paths, {}), dictionary_(text_.source_dictionary()), options_(options) {
  if (options_.tokens_per_sample < 2) {
    fail_usage("--tokens-per-sample {}: a masked sequence has <s> and at least one token",
               options_.tokens_per_sample);
  }
  const auto mask = dictionary_.add("<mask>");
  masker_ = std::make_shared<TokenMasker>(
      masking_of(options_, dictionary_, split_data_paths(paths).front()), dictionary_, mask);
}

std::shared_ptr<const TokenBlocks> MaskedLanguageModelData::blocks_of(
    std::shared_ptr<const TokenStream> stream) const {
  return std::make_shared<TokenBlocks>(std::move(stream), options_.break_mode,
                                       options_.tokens_per_sample - 1);
}

std::shared_ptr<const Dataset> MaskedLanguageModelData::train(int64_t epoch,
                                                              const std::string& split) {
  if (last_.first == epoch && last_split_ == split) return last_.second;
  const auto stream = text_.train_stream(epoch, split);
  auto& blocks = blocks_[stream->name()];
  if (!blocks) blocks = blocks_of(stream);
  last_ = {epoch, std::make_shared<MaskedLanguageModelDataset>(
                      blocks, masker_, options_.tokens_per_sample, options_.seed, epoch)};
  last_split_ = split;
  return last_.second;
}

std::shared_ptr<const Dataset> MaskedLanguageModelData::open(const std::string& split, bool combine,
                                                             int64_t pad_to_batch_size) {
  // The masks of a validation are always those of epoch 1, so that its losses can be compared.
  return std::make_shared<MaskedLanguageModelDataset>(
      blocks_of(text_.stream(split, combine)), masker_, options_.tokens_per_sample, options_.seed,
      /*epoch=*/1, pad_to_batch_size);
}

}  // namespace evomoe
