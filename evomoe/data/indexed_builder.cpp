#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/base/write_file.h"
#include "evomoe/data/indexed_dataset.h"

namespace evomoe {
namespace {

std::filesystem::path temporary(const std::filesystem::path& prefix, const char* suffix) {
  return temporary_of(prefix.string() + suffix);
}

std::FILE* open_new(const std::filesystem::path& path) {
  std::FILE* file = std::fopen(path.c_str(), "w+b");
  EVOMOE_CHECK(file != nullptr,
               "cannot write {}: {}; check that the folder exists and may be written to",
               path.string(), std::strerror(errno));
  return file;
}

void write_all(std::FILE* file, const void* data, size_t bytes,
               const std::filesystem::path& prefix) {
  EVOMOE_CHECK(bytes == 0 || std::fwrite(data, 1, bytes, file) == bytes,
               "cannot write {}: {}; free some space and try again", prefix.string(),
               std::strerror(errno));
}

void close(std::FILE*& file, const std::filesystem::path& prefix) {
  const int status = std::fclose(std::exchange(file, nullptr));
  EVOMOE_CHECK(status == 0, "cannot write {}: {}; free some space and try again", prefix.string(),
               std::strerror(errno));
}

template <typename T>
void append_as(int64_t token, std::vector<char>& bytes) {
  const auto value = static_cast<T>(token);
  EVOMOE_CHECK(std::in_range<T>(token),
               "token {} does not fit into the {} bytes of an element; the dictionary is larger "
               "than the one "
               "the file was begun with",
               token, sizeof(T));
  const auto* raw = reinterpret_cast<const char*>(&value);
  bytes.insert(bytes.end(), raw, raw + sizeof(T));
}

constexpr int64_t kCountPosition = 18;

}  // namespace

void append_token(TokenType type, int64_t token, std::vector<char>& bytes) {
  switch (type) {
    case TokenType::kUint8:
      return append_as<uint8_t>(token, bytes);
    case TokenType::kInt8:
      return append_as<int8_t>(token, bytes);
    case TokenType::kInt16:
      return append_as<int16_t>(token, bytes);
    case TokenType::kInt32:
      return append_as<int32_t>(token, bytes);
    case TokenType::kInt64:
      return append_as<int64_t>(token, bytes);
    case TokenType::kUint16:
      return append_as<uint16_t>(token, bytes);
    case TokenType::kUint32:
      return append_as<uint32_t>(token, bytes);
    case TokenType::kUint64:
      return append_as<uint64_t>(token, bytes);
  }
}

IndexedBuilder::IndexedBuilder(std::filesystem::path prefix, int64_t vocabulary, IndexFormat format)
    : prefix_(std::move(prefix)), format_(format), type_(token_type_for(vocabulary, format)) {
  bin_ = open_new(temporary(prefix_, ".bin"));
  try {
    idx_ = open_new(temporary(prefix_, ".idx"));
    std::vector<char> header(header_bytes(), 0);
    std::memcpy(header.data(), "MMIDIDX", 7);
    header[9] = 1;  // version, u64
    header[17] = static_cast<char>(type_);
    write_all(idx_, header.data(), header.size(), prefix_);
  } catch (...) {  // no destructor runs for a half-made object
    std::fclose(bin_);
    if (idx_ != nullptr) std::fclose(idx_);
    throw;
  }
}

IndexedBuilder::~IndexedBuilder() {
  std::error_code ignored;
  for (auto [file, suffix] : {std::pair{bin_, ".bin"}, std::pair{idx_, ".idx"}}) {
    if (file != nullptr) std::fclose(file);
    std::filesystem::remove(temporary(prefix_, suffix), ignored);
  }
}

void IndexedBuilder::add(std::span<const int64_t> item) {
  std::vector<char> bytes;
  for (const int64_t token : item) append_token(type_, token, bytes);
  EVOMOE_CHECK(item.size() <= static_cast<size_t>(std::numeric_limits<int32_t>::max()),
               "{}: an item of {} tokens is too long for the format; split it into lines",
               prefix_.string(), item.size());
  const auto size = static_cast<int32_t>(item.size());
  add_encoded({&size, 1}, bytes);
}

void IndexedBuilder::add_encoded(std::span<const int32_t> sizes, std::span<const char> bytes) {
  write_all(idx_, sizes.data(), sizes.size_bytes(), prefix_);
  write_all(bin_, bytes.data(), bytes.size(), prefix_);
  items_ += static_cast<int64_t>(sizes.size());
  bytes_ += static_cast<int64_t>(bytes.size());
}

/// The first sequence of each document, and the number of sequences: 0, 1, 2, ...
void IndexedBuilder::write_documents() {
  constexpr int64_t kPiece = 1 << 16;
  std::vector<int64_t> first;
  for (int64_t document = 0; document <= items_; ++document) {
    first.push_back(document);
    if (document < items_ && static_cast<int64_t>(first.size()) < kPiece) continue;
    write_all(idx_, first.data(), first.size() * 8, prefix_);
    first.clear();
  }
}

void IndexedBuilder::finish() {
  // The offsets follow all sizes in the file: the sizes are read back, so that memory does not grow
  // with the corpus.
  constexpr int64_t kPiece = 1 << 16;
  std::vector<int32_t> sizes;
  std::vector<int64_t> offsets;
  int64_t offset = 0;
  for (int64_t first = 0; first < items_; first += kPiece) {
    sizes.resize(std::min(kPiece, items_ - first));
    offsets.clear();
    fseeko(idx_, header_bytes() + first * 4, SEEK_SET);
    EVOMOE_CHECK(std::fread(sizes.data(), 4, sizes.size(), idx_) == sizes.size(),
                 "cannot read back {}.idx.tmp: {}", prefix_.string(), std::strerror(errno));
    for (const int32_t size : sizes) {
      offsets.push_back(offset);
      offset += size * token_width(type_);
    }
    fseeko(idx_, header_bytes() + items_ * 4 + first * 8, SEEK_SET);
    write_all(idx_, offsets.data(), offsets.size() * 8, prefix_);
  }
  EVOMOE_CHECK(offset == bytes_, "{}: the sizes add up to {} bytes, but {} bytes were written",
               prefix_.string(), offset, bytes_);
  if (format_ == IndexFormat::kMegatron) write_documents();
  fseeko(idx_, kCountPosition, SEEK_SET);
  write_all(idx_, &items_, sizeof(items_), prefix_);
  if (const int64_t ends = items_ + 1; format_ == IndexFormat::kMegatron)
    write_all(idx_, &ends, sizeof(ends), prefix_);
  close(bin_, prefix_);
  close(idx_, prefix_);
  // The index last: without it the pair does not exist for a reader.
  std::filesystem::rename(temporary(prefix_, ".bin"), prefix_.string() + ".bin");
  std::filesystem::rename(temporary(prefix_, ".idx"), prefix_.string() + ".idx");
}

}  // namespace evomoe
