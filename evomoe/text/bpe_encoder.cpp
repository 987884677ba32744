#include <algorithm>
#include <cstddef>
#include <queue>

#include "evomoe/text/bpe_words.h"
#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/tokenizer_rules.h"

namespace evomoe {
namespace {

constexpr size_t kLongWord = 64;  // bytes; longer words are merged with a heap and not remembered
constexpr size_t kMostWords = 1'000'000;  // remembered; then the memory starts anew

}  // namespace

BpeEncoder::BpeEncoder(const ByteBpe& bpe) : bpe_(bpe) {
  if (bpe.rules_) cut_ = std::make_unique<TokenizerWords>(*bpe.rules_);
}

BpeEncoder::~BpeEncoder() = default;

void BpeEncoder::encode(std::string_view text, std::vector<int32_t>& ids) {
  if (!cut_) {
    BpeWords words(text);
    for (std::string_view word; words.next(word);) encode_word(word, ids);
    return;
  }
  for (const auto& piece : cut_->cut(text)) {
    if (piece.token >= 0) {
      ids.push_back(piece.token);
    } else {
      encode_word(piece.text, ids);
    }
  }
}

/// The symbols of single bytes, or of the whole word.
void BpeEncoder::read_word(std::string_view word) {
  word_.clear();
  if (!bpe_.rules_) {
    for (const char byte : word) word_.push_back(bpe_.byte_id_[static_cast<uint8_t>(byte)]);
    return;
  }
  const auto& rules = *bpe_.rules_;
  if (rules.whole_words) {
    if (const auto found = bpe_.id_of_.find(word); found != bpe_.id_of_.end()) {
      word_.push_back(found->second);
      return;
    }
  }
  bool after_unknown = false;
  for (const char byte : word) {
    const auto id = bpe_.byte_id_[static_cast<uint8_t>(byte)];
    const bool unknown = id < 0;
    if (!unknown) {
      word_.push_back(id);
    } else if (rules.unknown >= 0 && !(rules.joins_unknown && after_unknown)) {
      word_.push_back(rules.unknown);
    }
    after_unknown = unknown;
  }
}

void BpeEncoder::encode_word(std::string_view word, std::vector<int32_t>& ids) {
  if (const auto found = cache_.find(word); found != cache_.end()) {
    const int32_t* begin = cached_ids_.data() + found->second.begin;
    ids.insert(ids.end(), begin, begin + found->second.length);
    return;
  }
  read_word(word);
  if (word.size() > kLongWord) {
    merge_long_word();
  } else {
    if (bpe_.rules_) {
      merge_short_word_by_place();
    } else {
      merge_short_word();
    }
    if (cache_.size() >= kMostWords) {
      cache_.clear();
      cached_ids_.clear();
    }
    cache_.emplace(
        word, Span{static_cast<uint32_t>(cached_ids_.size()), static_cast<uint32_t>(word_.size())});
    cached_ids_.insert(cached_ids_.end(), word_.begin(), word_.end());
  }
  ids.insert(ids.end(), word_.begin(), word_.end());
}

void BpeEncoder::merge_short_word() {
  // As GPT-2: find the pair of lowest rank, merge all its occurrences from the left, begin again.
  while (word_.size() > 1) {
    ByteBpe::Merge best;
    std::pair<int32_t, int32_t> pair;
    for (size_t i = 0; i + 1 < word_.size(); ++i) {
      const auto merge = bpe_.find_merge(word_[i], word_[i + 1]);
      if (merge.rank >= 0 && (best.rank < 0 || merge.rank < best.rank)) {
        best = merge;
        pair = {word_[i], word_[i + 1]};
      }
    }
    if (best.rank < 0) return;
    size_t out = 0;
    for (size_t i = 0; i < word_.size(); ++i, ++out) {
      const bool match =
          word_[i] == pair.first && i + 1 < word_.size() && word_[i + 1] == pair.second;
      word_[out] = match ? best.merged : word_[i];
      if (match) ++i;
    }
    word_.resize(out);
  }
}

void BpeEncoder::merge_short_word_by_place() {
  // As tokenizers: the first pair of lowest rank is merged, then what its neighbours make of it
  // counts at once.
  merges_.clear();
  for (size_t i = 0; i + 1 < word_.size(); ++i)
    merges_.push_back(bpe_.find_merge(word_[i], word_[i + 1]));
  const auto before = [](const ByteBpe::Merge& a, const ByteBpe::Merge& b) {
    return static_cast<uint32_t>(a.rank) < static_cast<uint32_t>(b.rank);  // none is -1: the last
  };
  while (!merges_.empty()) {
    const auto best = std::min_element(merges_.begin(), merges_.end(), before);
    if (best->rank < 0) return;
    const auto at = static_cast<size_t>(best - merges_.begin());
    word_[at] = best->merged;
    word_.erase(word_.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    merges_.erase(best);
    if (at > 0) merges_[at - 1] = bpe_.find_merge(word_[at - 1], word_[at]);
    if (at + 1 < word_.size()) merges_[at] = bpe_.find_merge(word_[at], word_[at + 1]);
  }
}

void BpeEncoder::merge_long_word() {
  // The same result in n log n: a heap of pairs by rank, then place. With GPT-2's rules pairs that
  // a merge makes wait until all occurrences of the merged pair are done, even when their rank is
  // lower.
  struct Candidate {
    ByteBpe::Merge merge;
    int32_t left, right;  // places of the two symbols
    int32_t left_id, right_id;
    bool operator<(const Candidate& other) const {  // std's heap puts the largest first
      return merge.rank != other.merge.rank ? merge.rank > other.merge.rank : left > other.left;
    }
  };
  const auto count = static_cast<int32_t>(word_.size());
  std::vector<int32_t> previous(count);
  std::vector<int32_t> next(count);
  std::vector<Candidate> fresh;
  const auto consider = [&](int32_t left, int32_t right) {
    if (left < 0 || right >= count) return;
    const auto merge = bpe_.find_merge(word_[left], word_[right]);
    if (merge.rank >= 0) fresh.push_back({merge, left, right, word_[left], word_[right]});
  };
  for (int32_t i = 0; i < count; ++i) {
    previous[i] = i - 1;
    next[i] = i + 1;
    consider(i - 1, i);
  }
  std::priority_queue<Candidate> heap(fresh.begin(), fresh.end());
  while (!heap.empty()) {
    const int32_t rank = heap.top().merge.rank;
    fresh.clear();
    while (!heap.empty() && heap.top().merge.rank == rank) {
      const Candidate top = heap.top();
      heap.pop();
      const bool stale = word_[top.left] != top.left_id || next[top.left] != top.right ||
                         word_[top.right] != top.right_id;
      if (stale) continue;
      word_[top.left] = top.merge.merged;
      word_[top.right] = -1;
      next[top.left] = next[top.right];
      if (next[top.left] < count) previous[next[top.left]] = top.left;
      consider(previous[top.left], top.left);
      consider(top.left, next[top.left]);
      if (bpe_.rules_) break;
    }
    for (const auto& candidate : fresh) heap.push(candidate);
  }
  std::erase(word_, -1);
}

}  // namespace evomoe
