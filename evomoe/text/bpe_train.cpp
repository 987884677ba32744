// Byte-pair encoding is learnt by joining the most frequent pair of neighbours again and again
// (Sennrich et al., arXiv 1508.07909, algorithm 1). Counts of pairs are kept up to date, so that a
// join costs what the words it changes cost.
#include <algorithm>
#include <queue>
#include <unordered_map>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/base/philox.h"
#include "evomoe/text/byte_alphabet.h"
#include "evomoe/text/byte_bpe.h"

namespace evomoe {
namespace {

constexpr int64_t kFewestOccurrences = 2;  // a pair seen once says nothing about other text

struct Word {
  std::vector<int32_t> symbols;
  int64_t count;
};

struct Pair {
  int64_t count = 0;
  std::vector<int32_t> words;  // where it may occur: some may have lost it
};

struct PairHash {
  size_t operator()(uint64_t pair) const { return splitmix64(pair); }
};

struct HeapEntry {
  int64_t count;
  uint64_t pair;
  bool operator<(const HeapEntry& other) const {  // largest count first, then the smaller ids
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

class Trainer {
 public:
  explicit Trainer(std::vector<Word> words) : words_(std::move(words)) {
    for (size_t i = 0; i < words_.size(); ++i) {
      const auto& symbols = words_[i].symbols;
      for (size_t at = 0; at + 1 < symbols.size(); ++at) {
        change(symbols[at], symbols[at + 1], words_[i].count, static_cast<int32_t>(i));
      }
    }
    for (const auto& [pair, state] : pairs_) heap_.push({state.count, pair});
  }

  /// The most frequent pair, or false when none occurs often enough.
  bool best(int32_t& left, int32_t& right) {
    while (!heap_.empty()) {
      const auto top = heap_.top();
      const int64_t count = pairs_[top.pair].count;
      if (count == top.count && count >= kFewestOccurrences) {
        left = static_cast<int32_t>(top.pair >> 32);
        right = static_cast<int32_t>(top.pair & 0xFFFFFFFF);
        return true;
      }
      heap_.pop();  // out of date
      if (count < top.count && count >= kFewestOccurrences) heap_.push({count, top.pair});
    }
    return false;
  }

  void join(int32_t left, int32_t right, int32_t merged) {
    heap_.pop();
    const uint64_t key = pair_key(left, right);
    const auto where = std::move(pairs_[key].words);
    raised_.clear();
    for (const int32_t index : where) join_in_word(index, left, right, merged);
    pairs_.erase(key);
    for (const uint64_t pair : raised_) {
      if (const auto found = pairs_.find(pair); found != pairs_.end())
        heap_.push({found->second.count, pair});
    }
  }

 private:
  static uint64_t pair_key(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }

  void change(int32_t left, int32_t right, int64_t by, int32_t word) {
    auto& pair = pairs_[pair_key(left, right)];
    pair.count += by;
    if (by > 0 && (pair.words.empty() || pair.words.back() != word)) pair.words.push_back(word);
  }

  void join_in_word(int32_t index, int32_t left, int32_t right, int32_t merged) {
    auto& symbols = words_[index].symbols;
    const int64_t count = words_[index].count;
    size_t out = 0;
    for (size_t i = 0; i < symbols.size(); ++i, ++out) {
      if (symbols[i] != left || i + 1 == symbols.size() || symbols[i + 1] != right) {
        symbols[out] = symbols[i];
        continue;
      }
      if (out > 0) {
        change(symbols[out - 1], left, -count, index);
        change(symbols[out - 1], merged, count, index);
        raised_.push_back(pair_key(symbols[out - 1], merged));
      }
      if (i + 2 < symbols.size()) {
        change(right, symbols[i + 2], -count, index);
        change(merged, symbols[i + 2], count, index);
        raised_.push_back(pair_key(merged, symbols[i + 2]));
      }
      symbols[out] = merged;
      ++i;
    }
    symbols.resize(out);
    if (raised_.size() > 4096) {  // most are repetitions
      std::sort(raised_.begin(), raised_.end());
      raised_.erase(std::unique(raised_.begin(), raised_.end()), raised_.end());
    }
  }

  std::vector<Word> words_;
  std::unordered_map<uint64_t, Pair, PairHash> pairs_;
  std::priority_queue<HeapEntry> heap_;
  std::vector<uint64_t> raised_;
};

}  // namespace

ByteBpe ByteBpe::train(const StringMap<int64_t>& counts, int64_t vocab_size,
                       const std::function<void(int64_t, int64_t)>& progress) {
  if (vocab_size < 257) {
    fail_usage("a vocabulary of {} tokens is too small: 256 bytes and <|endoftext|> make 257",
               vocab_size);
  }
  ByteBpe bpe;
  bpe.byte_id_.resize(256);
  StringMap<int32_t> id_of;
  for (int rank = 0; rank < 256; ++rank) {
    bpe.byte_id_[byte_of_rank(rank)] = rank;
    bpe.bytes_of_.emplace_back(1, static_cast<char>(byte_of_rank(rank)));
    id_of.emplace(bpe.bytes_of_.back(), rank);
  }
  std::vector<Word> words;
  for (const auto& [text, count] : counts) {
    Word word{{}, count};
    for (const char byte : text) word.symbols.push_back(bpe.byte_id_[static_cast<uint8_t>(byte)]);
    words.push_back(std::move(word));
  }
  Trainer trainer(std::move(words));
  int32_t left = 0;
  int32_t right = 0;
  while (bpe.size() < vocab_size - 1 && trainer.best(left, right)) {
    // Two ways of joining may spell the same token.
    const auto bytes = bpe.bytes_of_[left] + bpe.bytes_of_[right];
    const auto [found, is_new] = id_of.emplace(bytes, static_cast<int32_t>(bpe.size()));
    if (is_new) bpe.bytes_of_.push_back(bytes);
    bpe.add_merge(left, right, found->second);
    trainer.join(left, right, found->second);
    if (progress) progress(bpe.size(), vocab_size);
  }
  bpe.bytes_of_.emplace_back("<|endoftext|>");
  if (bpe.size() < vocab_size) {
    log().warn("the text gives only {} of {} tokens: no other pair of tokens occurs twice",
               bpe.size(), vocab_size);
  }
  return bpe;
}

}  // namespace evomoe
