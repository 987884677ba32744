#pragma once

#include <zlib.h>
#include <zstd.h>

#include <stdexcept>
#include <string>

namespace evomoe::testing {

/// `text` as a gzip file of one member.
inline std::string gzipped(const std::string& text) {
  z_stream zlib{};
  if (deflateInit2(&zlib, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::runtime_error("deflateInit2");
  std::string made(deflateBound(&zlib, text.size()), '\0');
  zlib.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  zlib.avail_in = static_cast<uInt>(text.size());
  zlib.next_out = reinterpret_cast<Bytef*>(made.data());
  zlib.avail_out = static_cast<uInt>(made.size());
  if (deflate(&zlib, Z_FINISH) != Z_STREAM_END) throw std::runtime_error("deflate");
  made.resize(zlib.total_out);
  deflateEnd(&zlib);
  return made;
}

/// `text` as a Zstandard file of one frame, with a checksum, as the program `zstd` makes it.
inline std::string zstd_compressed(const std::string& text) {
  std::string made(ZSTD_compressBound(text.size()), '\0');
  ZSTD_CCtx* zstd = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
  const size_t size = ZSTD_compress2(zstd, made.data(), made.size(), text.data(), text.size());
  ZSTD_freeCCtx(zstd);
  if (ZSTD_isError(size) != 0U) throw std::runtime_error("ZSTD_compress2");
  made.resize(size);
  return made;
}

}  // namespace evomoe::testing
