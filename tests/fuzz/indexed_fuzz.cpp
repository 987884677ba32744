// `.idx` and `.bin`, mmap and legacy.
#include <cstring>

#include "evomoe/base/error.h"
#include "evomoe/data/indexed_dataset.h"
#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

using testing::read_text;
using testing::write_text;

std::string little_endian(const std::vector<int64_t>& values) {
  std::string bytes(values.size() * sizeof(int64_t), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// The pair of files of two items of 2 and 1 tokens, of type int64.
std::string legacy(const std::vector<int64_t>& tokens) {
  return join({std::string("TNTIDX\0\0", 8) +
                   little_endian({1, 5, 8, 2, 2, /*dimensions*/ 0, 1, 2, /*data*/ 0, 2, 3,
                                  /*sizes*/ 2, 1}),
               little_endian(tokens)});
}

std::vector<std::string> indexed_seeds(const std::filesystem::path& folder) {
  std::vector<std::string> seeds;
  for (const int64_t vocabulary : {100, 100'000}) {
    const auto prefix = folder / std::to_string(vocabulary);
    IndexedBuilder builder(prefix, vocabulary);
    builder.add(std::vector<int64_t>{4, 5, 6, 2});
    builder.add(std::vector<int64_t>{});
    builder.add(std::vector<int64_t>{9, 2});
    builder.finish();
    seeds.push_back(
        join({read_text(prefix.string() + ".idx"), read_text(prefix.string() + ".bin")}));
  }
  seeds.push_back(legacy({5, 3, 3}));
  seeds.push_back(legacy({INT64_MIN, INT64_MAX, -1}));
  return seeds;
}

void read_indexed(const std::filesystem::path& folder, const std::string& bytes) {
  const auto parts = split(bytes, 2);
  write_text(folder / "x.idx", parts[0]);
  write_text(folder / "x.bin", parts[1]);
  const auto stream = open_indexed(folder / "x");
  for (int64_t i = 0; i < stream->items(); ++i) stream->item(i);
  for (int64_t i = 0; i < stream->tokens(); i += 7) stream->item_at(i);
  stream->check_tokens(/*dictionary_size=*/1000);
}

const Registration registration("indexed", {indexed_seeds, read_indexed});

}  // namespace
}  // namespace evomoe::fuzz
