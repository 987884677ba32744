#include <charconv>
#include <fstream>

#include "evomoe/base/error.h"
#include "evomoe/data/byte_bpe.h"
#include "evomoe/data/encoder_pool.h"
#include "evomoe/data/text_lines.h"

namespace evomoe {
namespace {

constexpr int64_t kPieceBytes = 2 << 20;

struct Piece {
  std::string text;
  BpeFileStatistics statistics;
};

/// Makes `output` from the pieces of `input`, in order and in parallel.
BpeFileStatistics convert_lines(const std::filesystem::path& input,
                                const std::filesystem::path& output, int threads,
                                const std::function<Piece(std::string_view)>& convert) {
  const MappedFile file(input);
  const auto pieces = split_at_lines(file.bytes(), kPieceBytes);
  auto temporary = output;
  temporary += ".tmp";
  std::ofstream stream(temporary, std::ios::binary);
  EVOMOE_CHECK(stream.good(), "cannot write {}; check that the folder exists and may be written to",
               temporary.string());
  std::vector<Piece> done(pieces.size());
  BpeFileStatistics total;
  total.bytes = static_cast<int64_t>(file.bytes().size());
  parallel_in_order(
      static_cast<int64_t>(pieces.size()), threads,
      [&](int64_t i) { done[i] = convert(pieces[i]); },
      [&](int64_t i) {
        stream << done[i].text;
        total.lines += done[i].statistics.lines;
        total.tokens += done[i].statistics.tokens;
        done[i] = {};
      });
  stream.close();
  EVOMOE_CHECK(!stream.fail(), "cannot write {}: the disk may be full", temporary.string());
  std::filesystem::rename(temporary, output);
  return total;
}

}  // namespace

BpeFileStatistics bpe_encode_file(const ByteBpe& bpe, const std::filesystem::path& input,
                                  const std::filesystem::path& output, int threads) {
  EncoderPool encoders(bpe);
  return convert_lines(input, output, threads, [&](std::string_view text) {
    auto encoder = encoders.take();
    Piece piece;
    std::vector<int32_t> ids;
    char digits[16];
    for_each_line(text, [&](std::string_view line) {
      ids.clear();
      encoder->encode(strip(line), ids);
      for (size_t i = 0; i < ids.size(); ++i) {
        if (i > 0) piece.text += ' ';
        piece.text.append(digits, std::to_chars(digits, digits + sizeof(digits), ids[i]).ptr);
      }
      piece.text += '\n';
      ++piece.statistics.lines;
      piece.statistics.tokens += static_cast<int64_t>(ids.size());
    });
    encoders.give(std::move(encoder));
    return piece;
  });
}

BpeFileStatistics bpe_decode_file(const ByteBpe& bpe, const std::filesystem::path& input,
                                  const std::filesystem::path& output) {
  int64_t number = 0;
  return convert_lines(input, output, /*threads=*/1, [&](std::string_view text) {
    Piece piece;
    for_each_line(text, [&](std::string_view line) {
      ++number;
      for_each_word(line, [&](std::string_view word) {
        int32_t id = -1;
        const auto [end, error] = std::from_chars(word.begin(), word.end(), id);
        EVOMOE_CHECK(error == std::errc() && end == word.end() && id >= 0 && id < bpe.size(),
                     "{}:{}: `{}` is no id of this vocabulary (0 .. {})", input.string(), number,
                     word, bpe.size() - 1);
        piece.text += bpe.bytes(id);
        ++piece.statistics.tokens;
      });
      piece.text += '\n';
      ++piece.statistics.lines;
    });
    return piece;
  });
}

}  // namespace evomoe
