#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace evomoe {

/// A corpus: items (sentences, documents) that lie one behind the other in one long stream of token
/// ids. Safe to read from many threads.
class TokenStream {
 public:
  virtual ~TokenStream() = default;

  /// Number of items.
  virtual int64_t items() const = 0;
  /// Position in the stream of the first token of item `item`; offset(items()) is the length of the
  /// stream.
  virtual int64_t offset(int64_t item) const = 0;
  /// Copies out.size() tokens from position `begin` on.
  virtual void read(int64_t begin, std::span<int64_t> out) const = 0;
  /// The file, for messages.
  virtual std::string name() const = 0;
  /// Reads all tokens once; one outside [0, dictionary_size) is an Error that names the first.
  virtual void check_tokens(int64_t dictionary_size) const;

  int64_t tokens() const { return offset(items()); }
  int64_t item_size(int64_t item) const { return offset(item + 1) - offset(item); }
  /// The first item that ends behind `position` (0 <= position < tokens()).
  int64_t item_at(int64_t position) const;
  /// All tokens of an item; an Error when there is no such item.
  std::vector<int64_t> item(int64_t item) const;
};

/// Several corpora as one: `train`, `train1`, ...
class ConcatenatedStream : public TokenStream {
 public:
  explicit ConcatenatedStream(std::vector<std::shared_ptr<const TokenStream>> parts);
  int64_t items() const override { return first_item_.back(); }
  int64_t offset(int64_t item) const override;
  void read(int64_t begin, std::span<int64_t> out) const override;
  std::string name() const override;

 private:
  std::vector<std::shared_ptr<const TokenStream>> parts_;
  std::vector<int64_t> first_item_;   // parts + 1 entries
  std::vector<int64_t> first_token_;  // parts + 1 entries
};

/// A corpus in memory (raw text, tests).
class MemoryStream : public TokenStream {
 public:
  MemoryStream(const std::vector<std::vector<int64_t>>& items, std::string name);
  int64_t items() const override { return static_cast<int64_t>(offsets_.size()) - 1; }
  int64_t offset(int64_t item) const override { return offsets_[item]; }
  void read(int64_t begin, std::span<int64_t> out) const override;
  std::string name() const override { return name_; }

 private:
  std::vector<int64_t> offsets_{0};
  std::vector<int32_t> tokens_;
  std::string name_;
};

}  // namespace evomoe
