// Lines of text as data, raw and as numbers.
#include "evomoe/base/error.h"
#include "evomoe/data/indexed_dataset.h"
#include "evomoe/data/label_numbers.h"
#include "evomoe/text/text_lines.h"
#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

std::vector<std::string> text_seeds(const std::filesystem::path&) {
  return {"the cat\r\nthe \xc3\xa4 dog\rend", "1\n+2.5\n-3e-7\nnan\n",
          "a\xc2\x85"
          "b\xe2\x80\xa8\x1c c\xff\n"};
}

void read_text_lines(const std::filesystem::path& folder, const std::string& bytes) {
  testing::write_text(folder / "x", bytes);
  Dictionary dictionary;
  dictionary.add("the");
  size_t words = 0;
  for_each_line(strip(bytes), [&](std::string_view line) {
    for_each_word(line, [&](std::string_view word) { words += is_utf8(word) ? 1 : 0; });
  });
  if (words > bytes.size()) throw std::logic_error("more words than bytes");
  if (!bytes.empty()) {
    const auto stream = open_raw_text(folder / "x", dictionary);
    for (int64_t i = 0; i < stream->items(); ++i) stream->item(i);
  }
  read_label_numbers(folder / "x");
}

const Registration registration("text", {text_seeds, read_text_lines});

}  // namespace
}  // namespace evomoe::fuzz
