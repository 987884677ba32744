#include "evomoe/data/binarize.h"

#include <limits>

#include "evomoe/base/error.h"
#include "evomoe/data/indexed_dataset.h"
#include "evomoe/text/encoder_pool.h"
#include "evomoe/text/symbol_counts.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/text_tokens.h"

namespace evomoe {
namespace {

struct EncodedPiece {
  std::vector<int32_t> sizes;
  std::vector<char> bytes;
  BinarizeStatistics statistics;
};

Corpus::ReadOptions reading(int workers, const LineEncoding& encoding,
                            const BinarizeProgress& progress) {
  // Words must be UTF-8, for the dictionary is a UTF-8 file. BPE takes any bytes.
  return {.threads = workers, .utf8_lines = encoding.bpe == nullptr, .progress = progress};
}

}  // namespace

std::string_view LineEncoding::bpe_text(std::string_view text) const {
  return keep_whitespace ? text : strip(text);
}

BinarizeStatistics binarize(const BinarizeOptions& options) {
  EVOMOE_CHECK(options.dictionary != nullptr, "binarize needs a dictionary");
  const Dictionary& dictionary = *options.dictionary;
  const auto* megatron = options.megatron;
  IndexedBuilder builder(options.output_prefix,
                         megatron != nullptr ? megatron->vocabulary : dictionary.size(),
                         megatron != nullptr ? IndexFormat::kMegatron : IndexFormat::kFairseq);
  const bool drops_ends = megatron != nullptr && megatron->of_token[Dictionary::kEos] < 0;
  std::optional<EncoderPool> encoders;
  std::vector<int64_t> bpe_index;
  if (const auto* bpe = options.encoding.bpe) {
    encoders.emplace(*bpe);
    bpe_index = tokens_of_bpe_ids(*bpe, dictionary);
  }

  const auto encode_piece = [&](DocumentKind kind, const EachItem& each_item) {
    EncodedPiece piece;
    auto& statistics = piece.statistics;
    auto encoder = encoders && kind != DocumentKind::kTokenIds ? encoders->take() : nullptr;
    std::vector<int32_t> ids;
    std::vector<int64_t> tokens;
    each_item([&](std::string_view text) {
      if (encoder) {
        ids.clear();
        tokens.clear();
        encoder->encode(options.encoding.bpe_text(text), ids);
        for (const int32_t id : ids) {
          tokens.push_back(bpe_index[id]);
          if (tokens.back() == Dictionary::kUnk) ++statistics.replaced;
        }
      } else {
        tokens = dictionary.encode_line(text, false, &statistics.replaced);
      }
      if (megatron != nullptr && tokens.empty()) return;
      if (!drops_ends) tokens.push_back(Dictionary::kEos);
      for (const int64_t token : tokens) {
        append_token(builder.type(), megatron != nullptr ? megatron->of(token, dictionary) : token,
                     piece.bytes);
      }
      EVOMOE_CHECK(tokens.size() <= static_cast<size_t>(std::numeric_limits<int32_t>::max()),
                   "{}: an item of {} tokens is too long; split it into lines",
                   options.source.name(), tokens.size());
      piece.sizes.push_back(static_cast<int32_t>(tokens.size()));
      ++statistics.sentences;
      statistics.tokens += static_cast<int64_t>(tokens.size());
    });
    if (encoder) encoders->give(std::move(encoder));
    return piece;
  };

  BinarizeStatistics total;
  const auto add = [&](EncodedPiece& piece) {
    builder.add_encoded(piece.sizes, piece.bytes);
    total.sentences += piece.statistics.sentences;
    total.tokens += piece.statistics.tokens;
    total.replaced += piece.statistics.replaced;
  };
  options.source.read<EncodedPiece>(reading(options.workers, options.encoding, options.progress),
                                    encode_piece, add);
  EVOMOE_CHECK(total.sentences > 0, "{}: no document in it; a split needs at least one",
               options.source.name());
  builder.finish();
  return total;
}

Dictionary build_dictionary(const Corpus& corpus, int workers, const LineEncoding& encoding,
                            const BinarizeProgress& progress) {
  struct Counted {
    SymbolCounts symbols;
    int64_t items = 0;
  };
  std::optional<EncoderPool> encoders;
  if (encoding.bpe != nullptr) encoders.emplace(*encoding.bpe);
  const int64_t bpe_size = encoding.bpe != nullptr ? encoding.bpe->size() : 0;
  SymbolCounts counts(bpe_size);
  int64_t items = 0;

  const auto count = [&](DocumentKind kind, const EachItem& each_item) {
    Counted counted{SymbolCounts(bpe_size)};
    auto encoder = encoders && kind != DocumentKind::kTokenIds ? encoders->take() : nullptr;
    std::vector<int32_t> ids;
    each_item([&](std::string_view text) {
      ++counted.items;
      if (encoder) {
        ids.clear();
        encoder->encode(encoding.bpe_text(text), ids);
        counted.symbols.add_ids(ids);
      } else {
        counted.symbols.add_words_of(text);
      }
    });
    if (encoder) encoders->give(std::move(encoder));
    return counted;
  };
  const auto add = [&](Counted& counted) {
    counts.add(counted.symbols);
    items += counted.items;
  };
  corpus.read<Counted>(reading(workers, encoding, progress), count, add);
  return counts.dictionary(items);
}

}  // namespace evomoe
