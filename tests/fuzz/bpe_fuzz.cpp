// GPT-2's encoder.json and vocab.bpe, a text, and the ids of another: every text that can be
// encoded decodes to itself.
#include <sstream>

#include "evomoe/base/error.h"
#include "evomoe/text/byte_bpe.h"
#include "tests/fuzz/target.h"
#include "tests/testing/learn_bpe.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

using testing::read_text;
using testing::write_text;

std::vector<std::string> bpe_seeds(const std::filesystem::path& folder) {
  const std::string text = "the other thing, there \xc3\xa4\xe2\x80\xa6 12 '\x80\n the end\n";
  const auto bpe = testing::learn_bpe(text, /*vocab_size=*/262);
  bpe.save(folder / "encoder.json", folder / "vocab.bpe");
  const auto encoder = read_text(folder / "encoder.json");
  return {join({encoder, read_text(folder / "vocab.bpe"), text, "1 2 260\n\n7"}),
          join({encoder, "#version: 0.2\n", std::string(100, 'a'), "0"})};
}

void read_bpe(const std::filesystem::path& folder, const std::string& bytes) {
  const auto parts = split(bytes, 4);
  write_text(folder / "encoder.json", parts[0]);
  write_text(folder / "vocab.bpe", parts[1]);
  const auto bpe = ByteBpe::load(folder / "encoder.json", folder / "vocab.bpe");
  const auto ids = bpe.encode(parts[2]);
  if (bpe.decode(ids) != parts[2]) throw std::logic_error("a text does not decode to itself");
  for (const auto id : ids) bpe.spelling(id);
  std::istringstream stream(parts[3]);
  std::ostringstream text;
  bpe_decode(bpe, stream, text, "ids");
}

const Registration registration("bpe", {bpe_seeds, read_bpe});

}  // namespace
}  // namespace evomoe::fuzz
