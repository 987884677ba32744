#include "evomoe/corpus/train_bpe.h"

#include "evomoe/base/error.h"
#include "evomoe/text/bpe_words.h"
#include "evomoe/text/text_lines.h"

namespace evomoe {

ByteBpe train_bpe(const Corpus& corpus, int64_t vocab_size, int threads, bool keep_whitespace,
                  const std::function<void(int64_t, int64_t)>& progress) {
  BpeWordCounts counts;
  const auto count = [&](DocumentKind kind, const EachItem& each_item) {
    EVOMOE_CHECK(kind != DocumentKind::kTokenIds,
                 "{}: a Megatron dataset holds tokens, not text to learn a vocabulary from",
                 corpus.name());
    BpeWordCounts words;
    each_item([&](std::string_view text) {
      count_bpe_words(keep_whitespace ? text : strip(text), words);
    });
    return words;
  };
  const auto add = [&](BpeWordCounts& words) {
    for (const auto& [word, times] : words) counts[word] += times;
  };
  corpus.read<BpeWordCounts>({.threads = threads, .utf8_lines = false}, count, add);
  EVOMOE_CHECK(!counts.empty(), "{}: no text in it to learn a vocabulary from", corpus.name());
  return ByteBpe::train(counts, vocab_size, progress);
}

}  // namespace evomoe
