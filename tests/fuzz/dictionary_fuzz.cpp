// dict.txt; and what is read, written and read again is the same.
#include "evomoe/base/error.h"
#include "evomoe/text/dictionary.h"
#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

using testing::read_text;
using testing::write_text;

std::vector<std::string> dictionary_seeds(const std::filesystem::path& folder) {
  Dictionary dictionary;
  for (const char* symbol : {"the", "\xc3\xa4", "262", "\xe2\x96\x81of"}) dictionary.add(symbol, 7);
  dictionary.finalize(/*threshold=*/0, /*max_symbols=*/0, /*padding_factor=*/8);
  dictionary.save(folder / "dict.txt");
  return {read_text(folder / "dict.txt"), "a 1\nb 2 #fairseq:overwrite\na 3 #fairseq:overwrite\n",
          "a 9223372036854775807\r\nb -3\rc +4\n"};
}

void read_dictionary(const std::filesystem::path& folder, const std::string& bytes) {
  write_text(folder / "dict.txt", bytes);
  auto dictionary = Dictionary::load(folder / "dict.txt");
  dictionary.save(folder / "again.txt");
  const auto again = Dictionary::load(folder / "again.txt");
  if (again.size() != dictionary.size()) throw std::logic_error("it comes back as another");
  for (int64_t i = 0; i < dictionary.size(); ++i) {
    dictionary.encode_line(dictionary.symbol(i));
    if (again.symbol(i) != dictionary.symbol(i) || again.count(i) != dictionary.count(i) ||
        again.index(again.symbol(i)) != dictionary.index(dictionary.symbol(i)))
      throw std::logic_error("a symbol comes back as another");
  }
  dictionary.finalize(/*threshold=*/2, /*max_symbols=*/1000, /*padding_factor=*/8);
  dictionary.encode_line(bytes);
}

const Registration registration("dictionary", {dictionary_seeds, read_dictionary});

}  // namespace
}  // namespace evomoe::fuzz
