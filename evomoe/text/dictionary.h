#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace evomoe {

/// Hashes std::string and std::string_view alike, so that a map of strings is searched without
/// making a string.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

template <typename Value>
using StringMap = std::unordered_map<std::string, Value, StringHash, std::equal_to<>>;

/// Beside a dictionary: the ids that the specials have in a tokenizer (`dict.ids.json`).
std::filesystem::path special_ids_file(const std::filesystem::path& dictionary);

/// The symbols of a model in fairseq's order and file format (`dict.txt`: a line `symbol count` for
/// each symbol but the four specials). Symbols are UTF-8. Where the symbols are the ids of a
/// tokenizer, the specials may have ids as well: those are other spellings of them.
class Dictionary {
 public:
  static constexpr int64_t kBos = 0;  ///< <s>
  static constexpr int64_t kPad = 1;  ///< <pad>
  static constexpr int64_t kEos = 2;  ///< </s>
  static constexpr int64_t kUnk = 3;  ///< <unk>
  static constexpr int64_t kSpecials = 4;
  using SpecialIds = std::array<int64_t, kSpecials>;  ///< by special

  Dictionary();

  /// Reads a dict.txt. A count is what Python's int() reads, within 64 bits (parse_int). A missing
  /// or empty file, a malformed line and a symbol that comes twice (unless its second line ends in
  /// ` #fairseq:overwrite`) are Errors that name the line. special_ids_file(path) is read where it
  /// is there.
  static Dictionary load(const std::filesystem::path& path);

  /// Writes a dict.txt that load() reads back to the same, all symbols but the specials, under a
  /// temporary name first, and the file of its special ids.
  void save(const std::filesystem::path& path) const;

  /// Adds `count` occurrences of `symbol`, which is appended when new (or always, when
  /// `overwrite`). Returns its index.
  int64_t add(std::string_view symbol, int64_t count = 1, bool overwrite = false);

  /// Sorts the symbols by falling count (ties: by bytes), keeps at most `max_symbols` (specials
  /// included; <= 0: all) of at least `threshold` occurrences, and appends `madeupword0000` ...
  /// until the size is a multiple of `padding_factor`.
  void finalize(int64_t threshold, int64_t max_symbols, int64_t padding_factor);

  int64_t size() const { return static_cast<int64_t>(symbols_.size()); }
  /// The index of `symbol`, or kUnk.
  int64_t index(std::string_view symbol) const;
  bool contains(std::string_view symbol) const { return indices_.find(symbol) != indices_.end(); }
  /// An Error when `index` is outside [0, size()).
  const std::string& symbol(int64_t index) const;
  int64_t count(int64_t index) const;

  /// The ids of the specials in a tokenizer; nothing: they have none.
  const std::optional<SpecialIds>& special_ids() const { return special_ids_; }
  /// Error where one is the symbol of another token already, or two are the same.
  void set_special_ids(const SpecialIds& ids);

  /// The ids of a line that is split at (Unicode) white space. When `replaced` is given, it is
  /// raised by the number of words that are not in the dictionary.
  std::vector<int64_t> encode_line(std::string_view line, bool append_eos = true,
                                   int64_t* replaced = nullptr) const;

  /// The symbols joined by spaces, without <s> and </s>.
  std::string string(const std::vector<int64_t>& ids) const;

 private:
  std::vector<std::string> symbols_;
  std::vector<int64_t> counts_;
  StringMap<int64_t> indices_;
  std::optional<SpecialIds> special_ids_;
};

}  // namespace evomoe
