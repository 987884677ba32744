#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/dictionary.h"

/// Which row of the vocabulary is which token. Our tokens 0 to 3 are <s>, <pad>, </s> and <unk>;
/// with a tokenizer they are the rows that these have in the model, and all others follow in their
/// order.
namespace evomoe {

/// The dictionary of a model of `vocab_size` rows: without a tokenizer (null) its tokens are its
/// rows, and numbers their symbols. With one the symbols are its ids, of which the specials have
/// those of config.json, generation_config.json, tokenizer_config.json or special_tokens_map.json,
/// in this order. A special that the model lacks, or that another has, takes a row that no text
/// has. Error: the tokenizer has more tokens than the model rows, an id that is none of them, no
/// row that no text has.
Dictionary hub_dictionary(const std::filesystem::path& folder, int64_t vocab_size,
                          const ByteBpe* tokenizer);

/// Where each row of a model of theirs is in one of ours.
struct HubRows {
  std::vector<int64_t> ours;          ///< our token by their id; empty: the same
  Dictionary::SpecialIds special_id;  ///< their ids of our specials

  int64_t size(int64_t vocab_size) const {
    return ours.empty() ? vocab_size : static_cast<int64_t>(ours.size());
  }
};

/// For a dictionary of theirs (special_ids()), and for one of ours over a BPE: ids are those of the
/// BPE, and the specials and what else the dictionary has follow them; a token of the BPE that it
/// lacks is a copy of <unk>. Without either (`bpe` null) ids are our tokens. Error: the special ids
/// and symbols are not all ids.
HubRows hub_rows(const Dictionary& dictionary, const ByteBpe* bpe);

/// Puts the rows of a tensor, as it is in a file of theirs, to the places that they have here.
void to_our_rows(torch::Tensor rows, const HubRows& order);
/// The opposite: a copy.
torch::Tensor in_their_rows(const torch::Tensor& rows, const HubRows& order);

}  // namespace evomoe
