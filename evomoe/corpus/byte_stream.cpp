#include "evomoe/corpus/byte_stream.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

constexpr const char* kCutOff = "it was cut off; copy it again, or make it again";

class PlainStream : public ByteStream {
 public:
  explicit PlainStream(const std::filesystem::path& path) : ByteStream(path) {}

  size_t read(char* out, size_t size) override {
    size = std::min(size, bytes().size() - at_);
    if (size > 0) std::memcpy(out, bytes().data() + at_, size);
    at_ += size;
    forget_pages();
    return size;
  }
  int64_t position() const override { return static_cast<int64_t>(at_); }

 private:
  size_t at_ = 0;
};

/// What a file begins with, for a message: `7b 22 74 65`.
std::string first_bytes(std::string_view bytes) {
  std::string shown;
  for (const char byte : bytes.substr(0, 4))
    shown += fmt::format("{}{:02x}", shown.empty() ? "" : " ", static_cast<uint8_t>(byte));
  return shown;
}

void check_magic(bool right, std::string_view bytes, const std::filesystem::path& path,
                 const char* ending, const char* format) {
  EVOMOE_CHECK(!bytes.empty(), "{}: the file is empty, which is no {} data; {}", path.string(),
               format, kCutOff);
  EVOMOE_CHECK(
      right,
      "{}: its name ends in {}, but it begins with the bytes {}, which is no {} data; give "
      "it the name of what it is",
      path.string(), ending, first_bytes(bytes), format);
}

class GzipStream : public ByteStream {
 public:
  explicit GzipStream(const std::filesystem::path& path) : ByteStream(path) {
    check_magic(bytes().starts_with(kMagic), bytes(), path, ".gz", "gzip");
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    EVOMOE_CHECK(::inflateInit2(&zlib_, kGzipOnly) == Z_OK, "{}: no memory for zlib",
                 path.string());
  }
  ~GzipStream() override { ::inflateEnd(&zlib_); }

  size_t read(char* out, size_t size) override {
    size_t made = 0;
    while (made < size && !ended_) {
      const auto room = static_cast<uInt>(std::min(size - made, kMost));
      const auto given = static_cast<uInt>(std::min(bytes().size() - at_, kMost));
      zlib_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes().data() + at_));
      zlib_.avail_in = given;
      zlib_.next_out = reinterpret_cast<Bytef*>(out + made);
      zlib_.avail_out = room;
      const int status = ::inflate(&zlib_, Z_NO_FLUSH);
      at_ += given - zlib_.avail_in;
      made += room - zlib_.avail_out;
      if (status == Z_STREAM_END) {
        begin_next_member();
        continue;
      }
      EVOMOE_CHECK(status == Z_OK || status == Z_BUF_ERROR,
                   "{}: its gzip data is damaged at byte {} ({}); copy it again, or make it again",
                   path().string(), at_, zlib_.msg != nullptr ? zlib_.msg : "zlib has no reason");
      EVOMOE_CHECK(zlib_.avail_out == 0 || at_ < bytes().size(),
                   "{}: the file ends inside its gzip data: {}", path().string(), kCutOff);
    }
    forget_pages();
    return made;
  }
  int64_t position() const override { return static_cast<int64_t>(at_); }

 private:
  static constexpr std::string_view kMagic = "\x1f\x8b";
  static constexpr size_t kMost = 1 << 30;  // zlib counts in 32 bits

  /// A file may hold several, one behind the other, and zeros behind the last one.
  void begin_next_member() {
    const auto rest = bytes().substr(at_);
    if (rest.find_first_not_of('\0') == std::string_view::npos) {
      ended_ = true;
      return;
    }
    EVOMOE_CHECK(rest.starts_with(kMagic),
                 "{}: behind its gzip data follow, at byte {}, bytes that are none ({}): it is "
                 "damaged; copy it again, or make it again",
                 path().string(), at_, first_bytes(rest));
    ::inflateReset(&zlib_);
  }

  z_stream zlib_{};
  size_t at_ = 0;
  bool ended_ = false;
};

class ZstdStream : public ByteStream {
 public:
  explicit ZstdStream(const std::filesystem::path& path)
      : ByteStream(path), zstd_(::ZSTD_createDCtx()) {
    const bool skippable = bytes().size() > 3 && bytes().substr(1, 3) == "\x2a\x4d\x18" &&
                           (static_cast<uint8_t>(bytes()[0]) & 0xF0) == 0x50;
    check_magic(bytes().starts_with("\x28\xb5\x2f\xfd") || skippable, bytes(), path, ".zst",
                "Zstandard");
    EVOMOE_CHECK(zstd_ != nullptr, "{}: no memory for Zstandard", path.string());
    // What `zstd --long=31` makes.
    ::ZSTD_DCtx_setParameter(zstd_.get(), ZSTD_d_windowLogMax, 31);
    in_ = {bytes().data(), bytes().size(), 0};
  }

  size_t read(char* out, size_t size) override {
    ZSTD_outBuffer made{out, size, 0};
    while (made.pos < size && (in_.pos < in_.size || expected_ > 0)) {
      const size_t read_before = in_.pos;
      const size_t made_before = made.pos;
      expected_ = ::ZSTD_decompressStream(zstd_.get(), &made, &in_);
      EVOMOE_CHECK(::ZSTD_isError(expected_) == 0U,
                   "{}: its Zstandard data is damaged near byte {} ({}); copy it again, or make it "
                   "again",
                   path().string(), in_.pos, ::ZSTD_getErrorName(expected_));
      EVOMOE_CHECK(expected_ == 0 || in_.pos != read_before || made.pos != made_before,
                   "{}: the file ends inside its Zstandard data: {}", path().string(), kCutOff);
    }
    forget_pages();
    return made.pos;
  }
  int64_t position() const override { return static_cast<int64_t>(in_.pos); }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ::ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> zstd_;
  ZSTD_inBuffer in_{};
  size_t expected_ = 0;  ///< bytes that the present frame still needs; 0: it is complete
};

}  // namespace

Compression compression_of(const std::filesystem::path& path) {
  const auto ending = path.extension();
  return ending == ".gz"    ? Compression::kGzip
         : ending == ".zst" ? Compression::kZstd
                            : Compression::kNone;
}

std::filesystem::path without_compression(const std::filesystem::path& path) {
  return compression_of(path) == Compression::kNone ? path : path.parent_path() / path.stem();
}

void ByteStream::forget_pages() {
  if (position() - forgotten_ < MappedFile::kKeptBytes) return;
  forgotten_ = position();
  file_.forget_pages();
}

std::unique_ptr<ByteStream> open_bytes(const std::filesystem::path& path) {
  switch (compression_of(path)) {
    case Compression::kGzip:
      return std::make_unique<GzipStream>(path);
    case Compression::kZstd:
      return std::make_unique<ZstdStream>(path);
    case Compression::kNone:
      break;
  }
  return std::make_unique<PlainStream>(path);
}

}  // namespace evomoe
