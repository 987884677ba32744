#include "evomoe/data/binarize.h"

#include <algorithm>
#include <limits>

#include "evomoe/base/error.h"
#include "evomoe/data/indexed_dataset.h"
#include "evomoe/text/encoder_pool.h"
#include "evomoe/text/symbol_counts.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/text_tokens.h"

namespace evomoe {
namespace {

constexpr int64_t kPieceBytes = 2 << 20;

/// Words must be UTF-8, for the dictionary is a UTF-8 file. BPE takes any bytes.
void check_utf8(const MappedFile& file, std::string_view line) {
  if (is_utf8(line)) return;
  int64_t number = 1;
  const auto before = static_cast<size_t>(line.data() - file.bytes().data());
  for_each_line(file.bytes().substr(0, before), [&](std::string_view) { ++number; });
  require_utf8(line, fmt::format("{}:{}", file.path().string(), number));
}

struct EncodedPiece {
  std::vector<int32_t> sizes;
  std::vector<char> bytes;
  BinarizeStatistics statistics;
};

}  // namespace

std::string_view LineEncoding::bpe_text(std::string_view text) const {
  return keep_whitespace ? text : strip(text);
}

BinarizeStatistics binarize(const BinarizeOptions& options) {
  EVOMOE_CHECK(options.dictionary != nullptr, "binarize needs a dictionary");
  const Dictionary& dictionary = *options.dictionary;
  const MappedFile file(options.source);
  EVOMOE_CHECK(!file.bytes().empty(), "{}: it is empty; a split needs at least one line",
               options.source.string());
  IndexedBuilder builder(options.output_prefix, dictionary.size());
  std::optional<EncoderPool> encoders;
  std::vector<int64_t> bpe_index;
  if (const auto* bpe = options.encoding.bpe) {
    encoders.emplace(*bpe);
    bpe_index = tokens_of_bpe_ids(*bpe, dictionary);
  }

  const auto encode_piece = [&](std::string_view text) {
    EncodedPiece piece;
    auto& statistics = piece.statistics;
    auto encoder = encoders ? encoders->take() : nullptr;
    std::vector<int32_t> ids;
    for_each_line(text, [&](std::string_view line) {
      int64_t size = 1;
      if (encoder) {
        ids.clear();
        encoder->encode(options.encoding.bpe_text(line), ids);
        for (const int32_t id : ids) {
          append_token(builder.type(), bpe_index[id], piece.bytes);
          if (bpe_index[id] == Dictionary::kUnk) ++statistics.replaced;
        }
        size += static_cast<int64_t>(ids.size());
      } else {
        check_utf8(file, line);
        for (const int64_t token : dictionary.encode_line(line, false, &statistics.replaced)) {
          append_token(builder.type(), token, piece.bytes);
          ++size;
        }
      }
      append_token(builder.type(), Dictionary::kEos, piece.bytes);
      EVOMOE_CHECK(size <= std::numeric_limits<int32_t>::max(),
                   "{}: a line of {} tokens is too long; split it into lines",
                   options.source.string(), size);
      piece.sizes.push_back(static_cast<int32_t>(size));
      ++statistics.sentences;
      statistics.tokens += size;
    });
    if (encoder) encoders->give(std::move(encoder));
    return piece;
  };

  const auto pieces = split_at_lines(file.bytes(), kPieceBytes);
  std::vector<EncodedPiece> done(pieces.size());
  BinarizeStatistics total;
  int64_t bytes_done = 0;
  parallel_in_order(
      static_cast<int64_t>(pieces.size()), options.workers,
      [&](int64_t i) { done[i] = encode_piece(pieces[i]); },
      [&](int64_t i) {
        builder.add_encoded(done[i].sizes, done[i].bytes);
        total.sentences += done[i].statistics.sentences;
        total.tokens += done[i].statistics.tokens;
        total.replaced += done[i].statistics.replaced;
        done[i] = {};
        bytes_done += static_cast<int64_t>(pieces[i].size());
        if (options.progress)
          options.progress(bytes_done, static_cast<int64_t>(file.bytes().size()));
      });
  builder.finish();
  return total;
}

Dictionary build_dictionary(const std::vector<std::filesystem::path>& files, int workers,
                            const LineEncoding& encoding, const BinarizeProgress& progress) {
  int64_t lines = 0;
  int64_t bytes_done = 0;
  int64_t bytes_in_all = 0;
  for (const auto& path : files)
    bytes_in_all += static_cast<int64_t>(MappedFile(path).bytes().size());

  struct Counted {
    SymbolCounts symbols;
    int64_t lines = 0;
  };
  std::optional<EncoderPool> encoders;
  if (encoding.bpe != nullptr) encoders.emplace(*encoding.bpe);
  const int64_t bpe_size = encoding.bpe != nullptr ? encoding.bpe->size() : 0;
  SymbolCounts counts(bpe_size);

  for (const auto& path : files) {
    const MappedFile file(path);
    const auto pieces = split_at_lines(file.bytes(), kPieceBytes);
    std::vector<Counted> partial(pieces.size());
    const auto count = [&](int64_t i) {
      Counted& counted = partial[i];
      counted.symbols = SymbolCounts(bpe_size);
      auto encoder = encoders ? encoders->take() : nullptr;
      std::vector<int32_t> ids;
      for_each_line(pieces[i], [&](std::string_view line) {
        ++counted.lines;
        if (encoder) {
          ids.clear();
          encoder->encode(encoding.bpe_text(line), ids);
          counted.symbols.add_ids(ids);
          return;
        }
        check_utf8(file, line);
        counted.symbols.add_words_of(line);
      });
      if (encoder) encoders->give(std::move(encoder));
    };
    const auto add = [&](int64_t i) {
      counts.add(partial[i].symbols);
      lines += partial[i].lines;
      partial[i] = Counted();
      bytes_done += static_cast<int64_t>(pieces[i].size());
      if (progress) progress(bytes_done, bytes_in_all);
    };
    parallel_in_order(static_cast<int64_t>(pieces.size()), workers, count, add);
  }
  return counts.dictionary(lines);
}

}  // namespace evomoe
