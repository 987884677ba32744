#include "evomoe/data/token_blocks.h"

#include <algorithm>
#include <limits>

#include "evomoe/base/error.h"

namespace evomoe {

BreakMode parse_break_mode(const std::string& name) {
  if (name == "none") return BreakMode::kNone;
  if (name == "complete") return BreakMode::kComplete;
  if (name == "complete_doc") return BreakMode::kCompleteDoc;
  if (name == "eos") return BreakMode::kEos;
  fail_usage("--sample-break-mode `{}` is unknown; choose none, complete, complete_doc or eos",
             name);
}

TokenBlocks::TokenBlocks(std::shared_ptr<const TokenStream> stream, BreakMode mode,
                         int64_t block_size)
    : stream_(std::move(stream)), mode_(mode), block_size_(block_size) {
  EVOMOE_CHECK(block_size > 0, "--tokens-per-sample is {}; it must be at least 1", block_size);
  const int64_t items = stream_->items();
  if (mode == BreakMode::kNone) {
    const int64_t tokens = stream_->tokens();
    count_ = tokens / block_size + (tokens % block_size > 0 ? 1 : 0);
    return;
  }
  if (mode == BreakMode::kEos) {
    count_ = items;
    return;
  }
  const bool documents = mode == BreakMode::kCompleteDoc;
  int64_t begin = 0;
  int64_t length = 0;
  const auto close = [&] {
    // A document of one token says nothing about the next one: it is dropped.
    if (length > (documents ? 1 : 0)) {
      EVOMOE_CHECK(length <= std::numeric_limits<int32_t>::max(),
                   "{}: a block of {} tokens is too long", stream_->name(), length);
      begin_.push_back(begin);
      length_.push_back(static_cast<int32_t>(length));
    }
    begin += length;
    length = 0;
  };
  int64_t end = 0;
  for (int64_t item = 0; item < items; ++item) {
    const int64_t next_end = stream_->offset(item + 1);
    const int64_t size = next_end - end;
    end = next_end;
    const bool separator = documents && size == 1;
    if (separator || (length > 0 && length + size > block_size)) close();
    if (separator) {
      begin += 1;
    } else {
      length += size;
    }
  }
  close();
  begin_.shrink_to_fit();
  length_.shrink_to_fit();
  count_ = static_cast<int64_t>(begin_.size());
}

int64_t TokenBlocks::block_size(int64_t block) const {
  switch (mode_) {
    case BreakMode::kNone:
      return std::min(block_size_, stream_->tokens() - block * block_size_);
    case BreakMode::kEos:
      return stream_->item_size(block);
    default:
      return length_[block];
  }
}

int64_t TokenBlocks::begin(int64_t block) const {
  switch (mode_) {
    case BreakMode::kNone:
      return block * block_size_;
    case BreakMode::kEos:
      return stream_->offset(block);
    default:
      return begin_[block];
  }
}

bool TokenBlocks::starts_item(int64_t block) const {
  if (mode_ != BreakMode::kNone) return true;
  const int64_t position = begin(block);
  return stream_->offset(stream_->item_at(position)) == position;
}

}  // namespace evomoe
