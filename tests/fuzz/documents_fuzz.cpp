// Files of documents: text, JSON lines, gzip and Megatron's datasets. Not Zstandard: the head of a
// file of a few bytes may ask for memory of two gigabytes, as `zstd --long=31` does.
#include <cstring>

#include "evomoe/base/error.h"
#include "evomoe/corpus/corpus.h"
#include "tests/fuzz/target.h"
#include "tests/testing/compressed.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

constexpr const char* kLines =
    "{\"text\": \"a\\nb\", \"n\": [1, {\"text\": 2}]}\n\n{\"text\": \"\\u00e9\"}\r\n";

std::string numbers(const std::vector<int64_t>& values) {
  std::string bytes(values.size() * sizeof(int64_t), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// Each begins with the name of the file.
std::vector<std::string> document_seeds(const std::filesystem::path&) {
  const auto megatron = std::string("MMIDIDX\0\0", 9) + numbers({1}) + "\x05" + numbers({2, 2}) +
                        std::string("\2\0\0\0\1\0\0\0", 8) + numbers({0, 16, 0, 2});
  return {join({"x.txt", kLines, ""}), join({"x.jsonl", kLines, ""}),
          join({"x.jsonl.gz", testing::gzipped(kLines), ""}),
          join({"x.idx", megatron, numbers({7, 0, 9})})};
}

void read_documents(const std::filesystem::path& folder, const std::string& bytes) {
  const auto parts = split(bytes, 3);
  auto name = std::string("x.txt");
  for (const char* known : {"x.jsonl", "x.jsonl.gz", "x.idx"}) {
    if (parts[0] == known) name = known;
  }
  testing::write_text(folder / name, parts[1]);
  testing::write_text(folder / "x.bin", parts[2]);
  BadRows bad_rows(/*skip=*/true);
  const Corpus corpus({folder / name}, {.megatron_eod = 0}, /*document_lines=*/true, &bad_rows);
  corpus.check();
  const auto count = [](DocumentKind, const EachItem& each_item) {
    size_t size = 0;
    each_item([&](std::string_view item) { size += item.size(); });
    return size;
  };
  corpus.read<size_t>({}, count, [](size_t&) {});
}

const Registration registration("documents", {document_seeds, read_documents});

}  // namespace
}  // namespace evomoe::fuzz
