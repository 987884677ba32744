#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "evomoe/data/token_stream.h"

namespace evomoe {

/// How a corpus is cut into blocks (`--sample-break-mode`).
enum class BreakMode {
  kNone,      ///< every block_size tokens, across items; the last block is shorter
  kComplete,  ///< whole items while they fit; an item longer than block_size is a block of its own
  kCompleteDoc,  ///< as complete, and an item of one token (an empty line) ends the block and is
                 ///< dropped
  kEos,          ///< one item a block
};

/// `none`, `complete`, `complete_doc` or `eos`; anything else is a UsageError.
BreakMode parse_break_mode(const std::string& name);

/// A corpus cut into blocks. Modes none and eos need no memory, the others 8 bytes a block and an
/// item's length.
class TokenBlocks {
 public:
  TokenBlocks(std::shared_ptr<const TokenStream> stream, BreakMode mode, int64_t block_size);

  int64_t size() const { return count_; }
  /// Tokens of a block.
  int64_t block_size(int64_t block) const;
  /// Position in the stream of its first token.
  int64_t begin(int64_t block) const;
  /// Whether the block begins with the first token of an item.
  bool starts_item(int64_t block) const;
  const TokenStream& stream() const { return *stream_; }

 private:
  std::shared_ptr<const TokenStream> stream_;
  BreakMode mode_;
  int64_t block_size_;
  int64_t count_ = 0;
  std::vector<int64_t> begin_;  // modes complete and complete_doc
  std::vector<int32_t> length_;
};

}  // namespace evomoe
