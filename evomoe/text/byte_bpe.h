#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "evomoe/text/dictionary.h"

namespace evomoe {

class TokenizerWords;
struct TokenizerRules;

/// Byte-level byte-pair encoding of GPT-2 ("Language Models are Unsupervised Multitask
/// Learners", 2.2): text is split into words by a regular expression, the bytes of a word are
/// merged in the order of the merge table. Every string of bytes can be encoded, and decodes to
/// itself. A tokenizer of Hugging Face is the same with rules of its own for what stands before the
/// merges. Immutable and safe to share between threads; each thread encodes through its own
/// BpeEncoder.
class ByteBpe {
 public:
  /// A merge of two tokens.
  struct Merge {
    int32_t rank = -1;    ///< line of the merge table, lowest first; -1: the pair does not merge
    int32_t merged = -1;  ///< the token it makes
  };

  /// Reads GPT-2's `encoder.json` (token -> id) and `vocab.bpe` (merges). Errors name the file and
  /// line.
  static ByteBpe load(const std::filesystem::path& encoder_json,
                      const std::filesystem::path& vocab_bpe);

  /// Reads a `tokenizer.json` of Hugging Face's tokenizers. Its ids are those that `tokenizers`
  /// gives, without the tokens that it puts around a text (rules()->at_start). Error, which names
  /// the file and the part: a tokenizer that is no byte-level BPE, or has a part that is not known.
  static ByteBpe load_tokenizer(const std::filesystem::path& tokenizer_json);

  /// Learns `vocab_size` tokens (256 bytes, merges, and `<|endoftext|>` as the last) from words
  /// (bpe_words.h) and how often each occurs. Ties of the pair counts go to the smaller ids, so
  /// that the result does not depend on the order of the words. `progress` gets (tokens made,
  /// vocab_size). With too little text the vocabulary stays smaller, and a warning says so.
  static ByteBpe train(const StringMap<int64_t>& counts, int64_t vocab_size,
                       const std::function<void(int64_t, int64_t)>& progress = {});

  /// Writes the two files that load() reads.
  void save(const std::filesystem::path& encoder_json,
            const std::filesystem::path& vocab_bpe) const;

  /// One more than the highest id.
  int64_t size() const { return static_cast<int64_t>(bytes_of_.size()); }

  /// The ids of `text`. Convenient for a single string; BpeEncoder remembers words and is much
  /// faster for many.
  std::vector<int32_t> encode(std::string_view text) const;
  /// The bytes of `ids`; an Error names an id outside [0, size()).
  std::string decode(const std::vector<int32_t>& ids) const;

  /// The bytes of a token. A model of Hugging Face may have more rows than its tokenizer has
  /// tokens: those have none.
  const std::string& bytes(int32_t id) const;
  /// The printable spelling of a token, as in encoder.json (a space is `Ġ`).
  std::string spelling(int32_t id) const;
  /// The token that `text` spells, or has as an added token; nothing where there is none.
  std::optional<int32_t> token_of(std::string_view text) const;
  /// The merges, the first ones first.
  const std::vector<std::pair<int32_t, int32_t>>& merges() const { return merges_; }
  /// The rules of a `tokenizer.json`; null: GPT-2's.
  const TokenizerRules* rules() const { return rules_.get(); }

 private:
  friend class BpeEncoder;
  ByteBpe() = default;
  void add_merge(int32_t left, int32_t right, int32_t merged);
  Merge find_merge(int32_t left, int32_t right) const;

  std::vector<std::string> bytes_of_;  // by id
  std::vector<int32_t> byte_id_;       // 256 entries: the id of each single byte; -1: none
  std::vector<std::pair<int32_t, int32_t>> merges_;  // by rank
  std::vector<std::pair<uint64_t, Merge>> table_;    // open addressing by pair; size a power of 2
  std::shared_ptr<const TokenizerRules> rules_;      // null: GPT-2's
  StringMap<int32_t> id_of_;  // of the bytes of whole words, where the rules want them
};

/// Encodes with a memory of the words seen so far. Not safe to share between threads.
class BpeEncoder {
 public:
  explicit BpeEncoder(const ByteBpe& bpe);
  ~BpeEncoder();

  /// Appends the ids of `text` to `ids`.
  void encode(std::string_view text, std::vector<int32_t>& ids);

 private:
  struct Span {
    uint32_t begin;
    uint32_t length;
  };
  void encode_word(std::string_view word, std::vector<int32_t>& ids);
  void read_word(std::string_view word);
  void merge_short_word();
  void merge_short_word_by_place();
  void merge_long_word();

  const ByteBpe& bpe_;
  StringMap<Span> cache_;
  std::vector<int32_t> cached_ids_;
  std::vector<int32_t> word_;            // the symbols of the word at hand
  std::vector<ByteBpe::Merge> merges_;   // of each symbol with the next one
  std::unique_ptr<TokenizerWords> cut_;  // by the rules; null: as GPT-2
};

struct BpeFileStatistics {
  int64_t lines = 0;
  int64_t tokens = 0;
  int64_t returns = 0;  ///< lines of a text that end with \r\n, whose \r was encoded
};

/// Encodes a text into lines of decimal ids, a line for each line of the text. Only \n ends a line;
/// every other byte is encoded, and the last line has an end where that of the text has one.
/// Parallel over `threads`; the output does not depend on their number.
BpeFileStatistics bpe_encode(const ByteBpe& bpe, std::istream& text, std::ostream& ids,
                             int threads);

/// The inverse of bpe_encode, byte for byte. An id that is no number or not in the vocabulary is an
/// Error that names `name` and the line.
BpeFileStatistics bpe_decode(const ByteBpe& bpe, std::istream& ids, std::ostream& text,
                             const std::string& name);

/// The BPE token that a symbol of a dictionary stands for, such as "262"; nothing for symbols that
/// stand for none (<unk>, padding words).
std::optional<int32_t> bpe_token_of(std::string_view symbol);

}  // namespace evomoe
