// tokenizer.json of Hugging Face, and a text that it encodes.
#include <nlohmann/json.hpp>

#include "evomoe/base/error.h"
#include "evomoe/text/byte_bpe.h"
#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"
#include "tests/testing/small_tokenizer.h"

namespace evomoe::fuzz {
namespace {

using testing::write_text;

std::vector<std::string> tokenizer_seeds(const std::filesystem::path&) {
  const std::string text = "the <x> other 12  th\xc3\xa4\xe2\x80\xa6 '\x80\n the";
  auto tokenizer = testing::small_tokenizer();
  tokenizer["normalizer"] = {{"type", "NFC"}};
  tokenizer["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"pattern", {{"Regex", " ?\\p{L}+|\\s+"}}}, {"behavior", "Isolated"}},
        {{"type", "Digits"}, {"individual_digits", true}},
        {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", true}}}}};
  tokenizer["added_tokens"] = nlohmann::json::array(
      {{{"id", 258}, {"content", "<x>"}, {"lstrip", true}, {"single_word", true}}});
  auto& model = tokenizer["model"];
  model["ignore_merges"] = true;
  model["vocab"]["th"] = 256;
  model["vocab"]["the"] = 257;
  model["merges"] = {"t h", "th e"};
  return {join({tokenizer.dump(), text})};
}

void read_tokenizer(const std::filesystem::path& folder, const std::string& bytes) {
  const auto parts = split(bytes, 2);
  write_text(folder / "tokenizer.json", parts[0]);
  const auto bpe = ByteBpe::load_tokenizer(folder / "tokenizer.json");
  bpe.decode(bpe.encode(parts[1]));
}

const Registration registration("tokenizer", {tokenizer_seeds, read_tokenizer});

}  // namespace
}  // namespace evomoe::fuzz
