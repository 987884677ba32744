#include <charconv>
#include <istream>
#include <optional>
#include <ostream>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/base/ordered_pipeline.h"
#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/encoder_pool.h"
#include "evomoe/text/text_lines.h"

namespace evomoe {
namespace {

constexpr int64_t kBlockBytes = 1 << 20;

struct Piece {
  std::string text;
  BpeFileStatistics statistics;
};

/// Unties a stream that several threads read, which must not flush what another thread writes.
class UntiedStream {
 public:
  explicit UntiedStream(std::istream& stream) : stream_(stream), tied_(stream.tie(nullptr)) {}
  ~UntiedStream() { stream_.tie(tied_); }
  UntiedStream(const UntiedStream&) = delete;
  UntiedStream& operator=(const UntiedStream&) = delete;

 private:
  std::istream& stream_;
  std::ostream* tied_;
};

/// Makes `out` of `in`: blocks of whole lines, worked on by several threads, written in order.
/// Memory does not grow with the text.
BpeFileStatistics convert_lines(std::istream& in, std::ostream& out, int threads,
                                const std::function<Piece(std::string_view)>& convert) {
  using Pipeline = OrderedPipeline<std::string, Piece>;
  std::optional<UntiedStream> untied;
  if (threads > 1) untied.emplace(in);
  std::string rest;  // the beginning of a line that the last block cut
  const Pipeline::Read read = [&](std::string& block) {
    block = std::exchange(rest, {});
    while (in) {
      const size_t had = block.size();
      block.resize(had + kBlockBytes);
      in.read(block.data() + had, kBlockBytes);
      block.resize(had + static_cast<size_t>(in.gcount()));
      EVOMOE_CHECK(!in.bad(), "the input cannot be read to its end");
      if (!in) break;
      const size_t last_end = std::string_view(block).substr(had).rfind('\n');
      if (last_end == std::string_view::npos) continue;
      rest = block.substr(had + last_end + 1);
      block.resize(had + last_end + 1);
      break;
    }
    return !block.empty();
  };
  BpeFileStatistics total;
  const Pipeline::Done write = [&](const std::string&, Piece& piece) {
    out << piece.text;
    EVOMOE_CHECK(out.good(), "the output cannot be written: the disk may be full");
    total.lines += piece.statistics.lines;
    total.tokens += piece.statistics.tokens;
    total.returns += piece.statistics.returns;
  };
  Pipeline::run(
      threads, read, [&](const std::string& block) { return convert(block); }, write);
  return total;
}

/// Calls `line` for each line with what ends it: "\n", or nothing at the end of the text. Unlike
/// for_each_line it leaves \r alone, so that every byte comes back.
template <typename Visit>
void for_each_exact_line(std::string_view text, const Visit& line) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    line(text.substr(0, end), text.substr(end, 1));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}  // namespace

BpeFileStatistics bpe_encode(const ByteBpe& bpe, std::istream& text, std::ostream& ids,
                             int threads) {
  EncoderPool encoders(bpe);
  return convert_lines(text, ids, threads, [&](std::string_view lines) {
    auto encoder = encoders.take();
    Piece piece;
    std::vector<int32_t> line_ids;
    char digits[16];
    for_each_exact_line(lines, [&](std::string_view line, std::string_view end) {
      line_ids.clear();
      encoder->encode(line, line_ids);
      const char* separator = "";
      for (const int32_t id : line_ids) {
        piece.text += separator;
        piece.text.append(digits, std::to_chars(digits, digits + sizeof(digits), id).ptr);
        separator = " ";
      }
      piece.text += end;
      ++piece.statistics.lines;
      piece.statistics.returns += line.ends_with('\r') ? 1 : 0;
      piece.statistics.tokens += static_cast<int64_t>(line_ids.size());
    });
    encoders.give(std::move(encoder));
    return piece;
  });
}

BpeFileStatistics bpe_decode(const ByteBpe& bpe, std::istream& ids, std::ostream& text,
                             const std::string& name) {
  int64_t number = 0;
  return convert_lines(ids, text, /*threads=*/1, [&](std::string_view lines) {
    Piece piece;
    for_each_exact_line(lines, [&](std::string_view line, std::string_view end) {
      ++number;
      for_each_word(line, [&](std::string_view word) {
        int32_t id = -1;
        const auto [rest, error] = std::from_chars(word.begin(), word.end(), id);
        EVOMOE_CHECK(error == std::errc() && rest == word.end() && id >= 0 && id < bpe.size(),
                     "{}:{}: `{}` is no id of this vocabulary (0 .. {})", name, number, word,
                     bpe.size() - 1);
        piece.text += bpe.bytes(id);
        ++piece.statistics.tokens;
      });
      piece.text += end;
      ++piece.statistics.lines;
    });
    return piece;
  });
}

}  // namespace evomoe
