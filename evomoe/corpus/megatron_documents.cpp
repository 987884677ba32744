#include "evomoe/corpus/megatron_documents.h"

#include <algorithm>
#include <cstring>

#include "evomoe/base/error.h"
#include "evomoe/base/mapped_file.h"

namespace evomoe {
namespace {

constexpr std::string_view kMagic("MMIDIDX\0\0", 9);
constexpr std::string_view kOlderMagic("TNTIDX\0\0", 8);
constexpr int64_t kHeaderBytes = 34;  // magic, u64 version, u8 type, u64 sequences, u64 documents
constexpr const char* kCopyAgain = "copy it again, or make it again";

template <typename T>
T element(std::string_view bytes, int64_t at, int64_t index = 0) {
  T value;
  std::memcpy(&value, bytes.data() + at + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

/// Behind the header: i32 length[sequences], i64 byte[sequences], i64 first sequence[documents], of
/// which the last is the number of sequences; some have i8 mode[sequences] too.
struct Layout {
  int64_t sequences = 0, ends = 0;
  int64_t lengths_at() const { return kHeaderBytes; }
  int64_t bytes_at() const { return kHeaderBytes + 4 * sequences; }
  int64_t documents_at() const { return kHeaderBytes + 12 * sequences; }
  int64_t size() const { return documents_at() + 8 * ends; }
};

bool has_layout(std::string_view idx, Layout& layout) {
  const auto bytes = static_cast<int64_t>(idx.size());
  if (!idx.starts_with(kMagic) || bytes < kHeaderBytes) return false;
  layout.sequences = element<int64_t>(idx, 18);
  layout.ends = element<int64_t>(idx, 26);
  const auto& [sequences, ends] = layout;
  if (sequences < 0 || sequences > bytes || ends < 1 || ends > bytes) return false;
  return bytes == layout.size() || bytes == layout.size() + sequences;
}

/// fairseq's has no documents: 26 bytes, and a length and a position of each item.
bool is_fairseq_index(std::string_view idx) {
  const auto bytes = static_cast<int64_t>(idx.size());
  if (bytes < 26) return false;
  const auto items = element<int64_t>(idx, 18);
  return items >= 0 && items <= bytes && bytes == 26 + 12 * items;
}

class MegatronDocuments : public DocumentReader {
 public:
  MegatronDocuments(const std::filesystem::path& idx, std::optional<int64_t> eod)
      : idx_(idx), bin_(std::filesystem::path(idx).replace_extension(".bin")), eod_(eod) {
    const auto name = idx.string();
    const auto bytes = idx_.bytes();
    EVOMOE_CHECK(bytes.starts_with(kMagic) || bytes.starts_with(kOlderMagic),
                 "{}: it does not begin as the index of a Megatron dataset (MMIDIDX); {}", name,
                 kCopyAgain);
    EVOMOE_CHECK(
        !bytes.starts_with(kOlderMagic) && !is_fairseq_index(bytes),
        "{}: this is an index of fairseq (a data folder, as `evomoe preprocess` makes it), "
        "not of Megatron; train on its folder as it is",
        name);
    EVOMOE_CHECK(has_layout(bytes, layout_),
                 "{}: its {} bytes are not what its header of a Megatron dataset says: it was cut "
                 "off or is damaged; {}",
                 name, bytes.size(), kCopyAgain);
    const auto version = element<uint64_t>(bytes, 9);
    EVOMOE_CHECK(version == 1, "{}: version {} of the format is unknown, only 1 is; {}", name,
                 version, kCopyAgain);
    type_ = element<uint8_t>(bytes, 17);
    EVOMOE_CHECK(width() > 0,
                 "{}: its elements have the type {}; tokens are integers (1 to 5, or 8)", name,
                 static_cast<int>(type_));
    check_structure();
  }

  DocumentKind kind() const override { return DocumentKind::kTokenIds; }

  bool next(DocumentPiece& piece) override {
    piece.bytes.clear();
    piece.ends.clear();
    for (; document_ + 1 < layout_.ends && static_cast<int64_t>(piece.bytes.size()) < kPieceBytes;
         ++document_) {
      const int64_t end = token_ + tokens_of(document_);
      append(token_, end, piece.bytes);
      token_ = end;
      piece.ends.push_back(static_cast<int64_t>(piece.bytes.size()));
    }
    piece.file_position = static_cast<int64_t>(
        static_cast<double>(idx_.bytes().size()) * static_cast<double>(document_) /
        static_cast<double>(std::max<int64_t>(layout_.ends - 1, 1)));
    forget_pages();
    return !piece.ends.empty();
  }
  int64_t for_each(const DocumentPiece& piece, const TextFunction& document,
                   std::vector<BadRow>& bad) const override {
    return for_each_text(piece, document, bad);
  }
  std::string where(int64_t row) const override {
    return fmt::format("{}: document {}", idx_.path().string(), row);
  }

 private:
  int64_t width() const {
    switch (type_) {
      case 1:
      case 2:
        return 1;
      case 3:
      case 8:
        return 2;
      case 4:
        return 4;
      case 5:
        return 8;
      default:
        return 0;
    }
  }
  int64_t stored_token(int64_t at) const {
    const auto bytes = bin_.bytes();
    switch (type_) {
      case 1:
        return element<uint8_t>(bytes, 0, at);
      case 2:
        return element<int8_t>(bytes, 0, at);
      case 3:
        return element<int16_t>(bytes, 0, at);
      case 8:
        return element<uint16_t>(bytes, 0, at);
      case 4:
        return element<int32_t>(bytes, 0, at);
      default:
        return element<int64_t>(bytes, 0, at);
    }
  }
  int64_t length_of(int64_t sequence) const {
    return element<int32_t>(idx_.bytes(), layout_.lengths_at(), sequence);
  }
  int64_t first_sequence(int64_t document) const {
    return element<int64_t>(idx_.bytes(), layout_.documents_at(), document);
  }
  int64_t tokens_of(int64_t document) const {
    int64_t tokens = 0;
    for (auto i = first_sequence(document); i < first_sequence(document + 1); ++i)
      tokens += length_of(i);
    return tokens;
  }

  void append(int64_t begin, int64_t end, std::string& text) const {
    if (eod_ && end > begin && stored_token(end - 1) == *eod_) --end;
    for (int64_t at = begin; at < end; ++at) {
      if (at > begin) text += ' ';
      const auto token = stored_token(at);
      EVOMOE_CHECK(
          token >= 0,
          "{}: token {} of document {} is {}, and tokens are not negative: it is damaged, or "
          "was written in too narrow a type; {}",
          bin_.path().string(), at - begin + 1, document_ + 1, token, kCopyAgain);
      if (eod_ && token == *eod_) {
        text += "</s>";
      } else {
        const fmt::format_int digits(token);
        text.append(digits.data(), digits.size());
      }
    }
  }

  /// Lets go of the pages that were read, now and then.
  void forget_pages() {
    if ((token_ - forgotten_) * width() < MappedFile::kKeptBytes) return;
    forgotten_ = token_;
    idx_.forget_pages();
    bin_.forget_pages();
  }

  /// Sequences without gaps in .bin, and documents without gaps in the sequences.
  void check_structure() {
    const auto name = idx_.path().string();
    int64_t tokens = 0;
    for (int64_t i = 0; i < layout_.sequences; ++i) {
      const auto at = element<int64_t>(idx_.bytes(), layout_.bytes_at(), i);
      EVOMOE_CHECK(
          length_of(i) >= 0 && at == tokens * width(),
          "{}: sequence {} has {} tokens at byte {}, expected at byte {}: it is damaged; {}", name,
          i + 1, length_of(i), at, tokens * width(), kCopyAgain);
      tokens += length_of(i);
    }
    int64_t before = 0;
    for (int64_t i = 0; i < layout_.ends; ++i) {
      const auto first = first_sequence(i);
      const bool right = i == 0 ? first == 0 : first >= before && first <= layout_.sequences;
      EVOMOE_CHECK(right && (i + 1 < layout_.ends || first == layout_.sequences),
                   "{}: {} after {} of its {} sequences: it is damaged; {}", name,
                   i > 0 && i + 1 == layout_.ends ? "the last document ends"
                                                  : fmt::format("document {} begins", i + 1),
                   first, layout_.sequences, kCopyAgain);
      before = first;
    }
    EVOMOE_CHECK(
        static_cast<int64_t>(bin_.bytes().size()) == tokens * width(),
        "{}: {} bytes, but {} says {} tokens of {} bytes: it was cut off or does not belong "
        "to this index; {}",
        bin_.path().string(), bin_.bytes().size(), name, tokens, width(), kCopyAgain);
    idx_.forget_pages();  // all of it was read
  }

  MappedFile idx_;
  MappedFile bin_;
  std::optional<int64_t> eod_;
  Layout layout_;
  uint8_t type_ = 0;
  int64_t document_ = 0;   ///< the next one
  int64_t token_ = 0;      ///< its first token
  int64_t forgotten_ = 0;  ///< the pages in front of this token need not stay in memory
};

}  // namespace

bool is_megatron_index(std::string_view idx) {
  Layout layout;
  return has_layout(idx, layout);
}

std::unique_ptr<DocumentReader> open_megatron(const std::filesystem::path& idx,
                                              std::optional<int64_t> eod) {
  return std::make_unique<MegatronDocuments>(idx, eod);
}

}  // namespace evomoe
