#include "evomoe/data/token_stream.h"

#include <algorithm>

#include "evomoe/base/error.h"

namespace evomoe {

int64_t TokenStream::item_at(int64_t position) const {
  int64_t low = 0;
  int64_t high = items() - 1;
  while (low < high) {  // the first item with offset(item + 1) > position
    const int64_t middle = low + (high - low) / 2;
    if (offset(middle + 1) > position) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

std::vector<int64_t> TokenStream::item(int64_t item) const {
  EVOMOE_CHECK(item >= 0 && item < items(), "{} has {} items; there is no item {}", name(), items(),
               item);
  std::vector<int64_t> tokens(item_size(item));
  read(offset(item), tokens);
  return tokens;
}

void TokenStream::check_tokens(int64_t dictionary_size) const {
  constexpr int64_t kPiece = 1 << 14;
  std::vector<int64_t> piece;
  for (int64_t begin = 0; begin < tokens(); begin += kPiece) {
    piece.resize(std::min(kPiece, tokens() - begin));
    read(begin, piece);
    for (size_t i = 0; i < piece.size(); ++i) {
      if (piece[i] >= 0 && piece[i] < dictionary_size) continue;
      fail(
          "{}: item {} holds token {}, but the dictionary has {} symbols; use the dict.txt that "
          "the data was made with, or run `evomoe preprocess` again",
          name(), item_at(begin + static_cast<int64_t>(i)), piece[i], dictionary_size);
    }
  }
}

ConcatenatedStream::ConcatenatedStream(std::vector<std::shared_ptr<const TokenStream>> parts)
    : parts_(std::move(parts)), first_item_{0}, first_token_{0} {
  EVOMOE_CHECK(!parts_.empty(), "a concatenated corpus needs at least one part");
  for (const auto& part : parts_) {
    first_item_.push_back(first_item_.back() + part->items());
    first_token_.push_back(first_token_.back() + part->tokens());
  }
}

int64_t ConcatenatedStream::offset(int64_t item) const {
  if (item == items()) return first_token_.back();
  const auto part =
      std::upper_bound(first_item_.begin(), first_item_.end(), item) - first_item_.begin() - 1;
  return first_token_[part] + parts_[part]->offset(item - first_item_[part]);
}

void ConcatenatedStream::read(int64_t begin, std::span<int64_t> out) const {
  while (!out.empty()) {
    const auto part = std::upper_bound(first_token_.begin(), first_token_.end(), begin) -
                      first_token_.begin() - 1;
    const int64_t count =
        std::min<int64_t>(static_cast<int64_t>(out.size()), first_token_[part + 1] - begin);
    parts_[part]->read(begin - first_token_[part], out.first(count));
    begin += count;
    out = out.subspan(count);
  }
}

std::string ConcatenatedStream::name() const {
  std::string names = parts_.front()->name();
  for (size_t i = 1; i < parts_.size(); ++i) names += " + " + parts_[i]->name();
  return names;
}

MemoryStream::MemoryStream(const std::vector<std::vector<int64_t>>& items, std::string name)
    : name_(std::move(name)) {
  for (const auto& item : items) {
    tokens_.insert(tokens_.end(), item.begin(), item.end());
    offsets_.push_back(static_cast<int64_t>(tokens_.size()));
  }
}

void MemoryStream::read(int64_t begin, std::span<int64_t> out) const {
  std::copy_n(tokens_.begin() + begin, out.size(), out.begin());
}

}  // namespace evomoe
