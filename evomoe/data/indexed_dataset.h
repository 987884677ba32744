#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "evomoe/data/token_stream.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {

/// Element types of fairseq's binary files; the numbers are those in the files.
enum class TokenType : uint8_t {
  kUint8 = 1,
  kInt8 = 2,
  kInt16 = 3,
  kInt32 = 4,
  kInt64 = 5,
  kUint16 = 8,
  kUint32 = 9,
  kUint64 = 10,
};

/// Bytes of an element.
int64_t token_width(TokenType type);

/// Two formats that begin alike.
enum class IndexFormat {
  kFairseq,
  kMegatron,  ///< also counts documents, and each item is one
};

/// The type that the builder of fairseq, or Megatron's, takes for a vocabulary of `vocabulary`
/// symbols (0: unknown).
TokenType token_type_for(int64_t vocabulary, IndexFormat format = IndexFormat::kFairseq);

/// Opens `<prefix>.idx` and `<prefix>.bin`, in fairseq's mmap (`MMIDIDX`) or legacy lazy/cached
/// (`TNTIDX`) format, whichever the magic says, memory-mapped: memory does not grow with the
/// corpus. Megatron's is refused: its tokens are those of another tokenizer, and `evomoe
/// preprocess` translates them. The structure is checked at once (magic, version, type, counts
/// against file sizes, offsets); a truncated, empty or foreign file is an Error that names the file
/// and what to do.
std::shared_ptr<const TokenStream> open_indexed(const std::filesystem::path& prefix);

/// Reads a text file, a line an item, encoded with `dictionary` as fairseq's `raw` format (all
/// tokens are held in memory).
std::shared_ptr<const TokenStream> open_raw_text(const std::filesystem::path& path,
                                                 const Dictionary& dictionary);

/// Whether `<prefix>.idx` (indexed) or `prefix` itself (raw text) is there.
bool token_file_exists(const std::filesystem::path& prefix);

/// open_indexed or open_raw_text, whichever is there.
std::shared_ptr<const TokenStream> open_tokens(const std::filesystem::path& prefix,
                                               const Dictionary& dictionary);

/// Writes an mmap pair of files, byte for byte as fairseq does, or Megatron. They appear under
/// their names only in finish().
class IndexedBuilder {
 public:
  /// `vocabulary` chooses the element type, see token_type_for.
  IndexedBuilder(std::filesystem::path prefix, int64_t vocabulary,
                 IndexFormat format = IndexFormat::kFairseq);
  ~IndexedBuilder();  ///< without finish(): removes the temporary files
  IndexedBuilder(const IndexedBuilder&) = delete;
  IndexedBuilder& operator=(const IndexedBuilder&) = delete;

  TokenType type() const { return type_; }
  void add(std::span<const int64_t> item);
  /// Adds items whose tokens are already stored as type(): `sizes` in tokens, one behind the other
  /// in `bytes`.
  void add_encoded(std::span<const int32_t> sizes, std::span<const char> bytes);
  void finish();

 private:
  int64_t header_bytes() const { return format_ == IndexFormat::kMegatron ? 34 : 26; }
  void write_documents();

  std::filesystem::path prefix_;
  IndexFormat format_;
  TokenType type_;
  std::FILE* bin_ = nullptr;
  std::FILE* idx_ = nullptr;
  int64_t items_ = 0;
  int64_t bytes_ = 0;
};

/// Appends `token` to `bytes`, stored as `type`. An Error when it does not fit.
void append_token(TokenType type, int64_t token, std::vector<char>& bytes);

}  // namespace evomoe
