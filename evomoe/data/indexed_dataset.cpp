#include "evomoe/data/indexed_dataset.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/corpus/megatron_documents.h"
#include "evomoe/text/text_lines.h"

namespace evomoe {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the files are little-endian and read in place");

constexpr std::string_view kMmapMagic("MMIDIDX\0\0", 9);
constexpr std::string_view kLegacyMagic("TNTIDX\0\0", 8);
constexpr const char* kRemedy = "make it again with `evomoe preprocess`, or copy it again";

/// An element of a file, which need not be aligned.
template <typename T>
T load_at(const char* data, int64_t index = 0) {
  T value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

template <typename T>
void widen(const char* data, int64_t shift, std::span<int64_t> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    // Unsigned: a damaged file may hold the least number that there is.
    const auto stored = static_cast<uint64_t>(load_at<T>(data, static_cast<int64_t>(i)));
    out[i] = static_cast<int64_t>(stored + static_cast<uint64_t>(shift));
  }
}

void widen(TokenType type, const char* data, int64_t shift, std::span<int64_t> out) {
  switch (type) {
    case TokenType::kUint8:
      return widen<uint8_t>(data, shift, out);
    case TokenType::kInt8:
      return widen<int8_t>(data, shift, out);
    case TokenType::kInt16:
      return widen<int16_t>(data, shift, out);
    case TokenType::kInt32:
      return widen<int32_t>(data, shift, out);
    case TokenType::kInt64:
      return widen<int64_t>(data, shift, out);
    case TokenType::kUint16:
      return widen<uint16_t>(data, shift, out);
    case TokenType::kUint32:
      return widen<uint32_t>(data, shift, out);
    case TokenType::kUint64:
      return widen<uint64_t>(data, shift, out);
  }
}

/// Whether all of `count` elements are in [0, bound).
template <typename T>
bool all_below(const char* data, int64_t count, int64_t bound) {
  T least = 0;
  T most = 0;
  for (int64_t i = 0; i < count; ++i) {
    const T value = load_at<T>(data, i);
    least = std::min(least, value);
    most = std::max(most, value);
  }
  return std::cmp_greater_equal(least, 0) && std::cmp_less(most, bound);
}

bool all_below(TokenType type, const char* data, int64_t count, int64_t bound) {
  switch (type) {
    case TokenType::kUint8:
      return all_below<uint8_t>(data, count, bound);
    case TokenType::kInt8:
      return all_below<int8_t>(data, count, bound);
    case TokenType::kInt16:
      return all_below<int16_t>(data, count, bound);
    case TokenType::kInt32:
      return all_below<int32_t>(data, count, bound);
    case TokenType::kInt64:
      return all_below<int64_t>(data, count, bound);
    case TokenType::kUint16:
      return all_below<uint16_t>(data, count, bound);
    case TokenType::kUint32:
      return all_below<uint32_t>(data, count, bound);
    case TokenType::kUint64:
      return all_below<uint64_t>(data, count, bound);
  }
  return false;
}

TokenType checked_type(uint64_t code, const std::filesystem::path& file) {
  const bool known = (code >= 1 && code <= 5) || (code >= 8 && code <= 10);
  EVOMOE_CHECK(known, "{}: element type {} is not one of integers (1-5, 8-10); {}", file.string(),
               code, kRemedy);
  return static_cast<TokenType>(code);
}

std::filesystem::path with_suffix(std::filesystem::path prefix, const char* suffix) {
  return prefix += suffix;
}

/// What both formats share: two mapped files and tokens that lie without gaps.
class MappedStream : public TokenStream {
 public:
  explicit MappedStream(const std::filesystem::path& prefix)
      : idx_(with_suffix(prefix, ".idx")),
        bin_(with_suffix(prefix, ".bin")),
        name_(prefix.string()) {}

  int64_t items() const override { return items_; }
  std::string name() const override { return name_; }
  void read(int64_t begin, std::span<int64_t> out) const override {
    EVOMOE_CHECK(begin >= 0 && begin + static_cast<int64_t>(out.size()) <= tokens_,
                 "{}: tokens {} to {} were asked for, it has {}", name_, begin, begin + out.size(),
                 tokens_);
    widen(type_, bin_.bytes().data() + begin * token_width(type_), shift_, out);
  }
  /// In the file's own type, which is many times faster than widening all tokens.
  void check_tokens(int64_t dictionary_size) const override {
    if (shift_ != 0) return TokenStream::check_tokens(dictionary_size);
    constexpr int64_t kPiece = 8 << 20;
    for (int64_t begin = 0; begin < tokens_; begin += kPiece) {
      const char* data = bin_.bytes().data() + begin * token_width(type_);
      if (!all_below(type_, data, std::min(kPiece, tokens_ - begin), dictionary_size))
        TokenStream::check_tokens(dictionary_size);  // says which
      bin_.forget_pages();
    }
  }

 protected:
  const char* index(int64_t position) const { return idx_.bytes().data() + position; }
  int64_t index_bytes() const { return static_cast<int64_t>(idx_.bytes().size()); }

  void check_index_size(int64_t header, int64_t needed) const {
    EVOMOE_CHECK(items_ >= 0 && needed == index_bytes(),
                 "{}: {} bytes, but its header of {} bytes says {} items, which take {} bytes: it "
                 "was cut or is "
                 "damaged; {}",
                 idx_.path().string(), index_bytes(), header, items_, needed, kRemedy);
  }

  void check_data_size() const {
    const auto needed = tokens_ * token_width(type_);
    EVOMOE_CHECK(static_cast<int64_t>(bin_.bytes().size()) == needed,
                 "{}: {} bytes, but {} says {} tokens of {} bytes: it was cut or does not belong "
                 "to this index; {}",
                 bin_.path().string(), bin_.bytes().size(), idx_.path().string(), tokens_,
                 token_width(type_), kRemedy);
    idx_.forget_pages();  // the checks have touched all of it
  }

  MappedFile idx_;
  MappedFile bin_;
  std::string name_;
  TokenType type_ = TokenType::kInt32;
  int64_t items_ = 0;
  int64_t tokens_ = 0;
  int64_t shift_ = 0;
};

/// magic, u64 version, u8 type, u64 items, i32 size[items], i64 byte offset[items].
class MmapStream : public MappedStream {
 public:
  explicit MmapStream(const std::filesystem::path& prefix) : MappedStream(prefix) {
    constexpr int64_t kHeader = 26;
    EVOMOE_CHECK(index_bytes() >= kHeader, "{}: {} bytes are too few for a header; {}",
                 idx_.path().string(), index_bytes(), kRemedy);
    const auto version = load_at<uint64_t>(index(9));
    EVOMOE_CHECK(version == 1, "{}: version {} of the format is unknown, only 1 is; {}",
                 idx_.path().string(), version, kRemedy);
    type_ = checked_type(load_at<uint8_t>(index(17)), idx_.path());
    const auto items = load_at<uint64_t>(index(18));
    items_ = items <= static_cast<uint64_t>(index_bytes()) ? static_cast<int64_t>(items) : -1;
    check_index_size(kHeader, kHeader + items_ * 12);
    sizes_ = index(kHeader);
    offsets_ = index(kHeader + items_ * 4);
    for (int64_t i = 0; i < items_; ++i) {
      const auto size = load_at<int32_t>(sizes_, i);
      const auto at = load_at<int64_t>(offsets_, i);
      EVOMOE_CHECK(size >= 0 && at == tokens_ * token_width(type_),
                   "{}: item {} has {} tokens at byte {}, expected at byte {}: it is damaged; {}",
                   idx_.path().string(), i, size, at, tokens_ * token_width(type_), kRemedy);
      tokens_ += size;
    }
    check_data_size();
  }

  int64_t offset(int64_t item) const override {
    return item >= items_ ? tokens_ : load_at<int64_t>(offsets_, item) / token_width(type_);
  }

 private:
  const char* sizes_ = nullptr;
  const char* offsets_ = nullptr;
};

/// magic, u64 version, u64 type, u64 element size, u64 items, u64 sizes, i64 dimension offset[items
/// + 1], i64 data offset[items + 1], i64 size[sizes]. Tokens are stored one higher (they once were
/// Lua indices).
class LegacyStream : public MappedStream {
 public:
  explicit LegacyStream(const std::filesystem::path& prefix) : MappedStream(prefix) {
    constexpr int64_t kHeader = 48;
    const auto file = idx_.path().string();
    EVOMOE_CHECK(index_bytes() >= kHeader, "{}: {} bytes are too few for a header; {}", file,
                 index_bytes(), kRemedy);
    const auto version = load_at<uint64_t>(index(8));
    EVOMOE_CHECK(version == 1, "{}: version {} of the format is unknown, only 1 is; {}", file,
                 version, kRemedy);
    type_ = checked_type(load_at<uint64_t>(index(16)), idx_.path());
    const auto width = load_at<uint64_t>(index(24));
    EVOMOE_CHECK(static_cast<int64_t>(width) == token_width(type_),
                 "{}: elements of {} bytes do not agree with type {}; {}", file, width,
                 static_cast<int>(type_), kRemedy);
    const auto items = load_at<uint64_t>(index(32));
    const auto sizes = load_at<uint64_t>(index(40));
    const auto limit = static_cast<uint64_t>(index_bytes());
    items_ = items <= limit && sizes == items ? static_cast<int64_t>(items) : -1;
    check_index_size(kHeader, kHeader + (2 * (items_ + 1) + items_) * 8);
    shift_ = -1;
    offsets_ = index(kHeader + (items_ + 1) * 8);
    const char* dimensions = index(kHeader);
    const char* lengths = index(kHeader + 2 * (items_ + 1) * 8);
    for (int64_t i = 0; i <= items_; ++i) {
      EVOMOE_CHECK(load_at<int64_t>(offsets_, i) == tokens_ && load_at<int64_t>(dimensions, i) == i,
                   "{}: item {} begins at token {}, expected {}: it is damaged; {}", file, i,
                   load_at<int64_t>(offsets_, i), tokens_, kRemedy);
      if (i == items_) break;
      const auto size = load_at<int64_t>(lengths, i);
      EVOMOE_CHECK(size >= 0 && size <= static_cast<int64_t>(bin_.bytes().size()),
                   "{}: item {} has {} tokens: it is damaged; {}", file, i, size, kRemedy);
      tokens_ += size;
    }
    check_data_size();
  }

  int64_t offset(int64_t item) const override { return load_at<int64_t>(offsets_, item); }

 private:
  const char* offsets_ = nullptr;
};

}  // namespace

int64_t token_width(TokenType type) {
  switch (type) {
    case TokenType::kUint8:
    case TokenType::kInt8:
      return 1;
    case TokenType::kInt16:
    case TokenType::kUint16:
      return 2;
    case TokenType::kInt32:
    case TokenType::kUint32:
      return 4;
    case TokenType::kInt64:
    case TokenType::kUint64:
      return 8;
  }
  fail("element type {} is unknown", static_cast<int>(type));
}

TokenType token_type_for(int64_t vocabulary, IndexFormat format) {
  if (vocabulary > 0 && vocabulary < 65500) return TokenType::kUint16;
  if (format == IndexFormat::kMegatron) return TokenType::kInt32;
  return vocabulary < int64_t{4294967295} ? TokenType::kUint32 : TokenType::kInt64;
}

bool token_file_exists(const std::filesystem::path& prefix) {
  return std::filesystem::exists(with_suffix(prefix, ".idx")) ||
         std::filesystem::is_regular_file(prefix);
}

std::shared_ptr<const TokenStream> open_indexed(const std::filesystem::path& prefix) {
  const MappedFile idx(with_suffix(prefix, ".idx"));
  EVOMOE_CHECK(!is_megatron_index(idx.bytes()),
               "{0}: this is a Megatron dataset, whose tokens are those of its own tokenizer; "
               "translate them into a data folder: evomoe preprocess --only-source --trainpref {0} "
               "--destdir FOLDER (docs/data.md)",
               idx.path().string());
  if (idx.bytes().starts_with(kMmapMagic)) return std::make_shared<MmapStream>(prefix);
  if (idx.bytes().starts_with(kLegacyMagic)) return std::make_shared<LegacyStream>(prefix);
  fail("{}: {} and begins neither as an mmap (MMIDIDX) nor as a legacy (TNTIDX) index; {}",
       idx.path().string(),
       idx.bytes().empty() ? "it is empty" : fmt::format("{} bytes", idx.bytes().size()), kRemedy);
}

std::shared_ptr<const TokenStream> open_raw_text(const std::filesystem::path& path,
                                                 const Dictionary& dictionary) {
  const MappedFile file(path);
  std::vector<std::vector<int64_t>> items;
  for_each_line(file.bytes(),
                [&](std::string_view line) { items.push_back(dictionary.encode_line(line)); });
  EVOMOE_CHECK(!items.empty(), "{}: it is empty; a corpus needs at least one line", path.string());
  return std::make_shared<MemoryStream>(items, path.string());
}

std::shared_ptr<const TokenStream> open_tokens(const std::filesystem::path& prefix,
                                               const Dictionary& dictionary) {
  if (std::filesystem::exists(with_suffix(prefix, ".idx"))) return open_indexed(prefix);
  return open_raw_text(prefix, dictionary);
}

}  // namespace evomoe
