// tokenizer.json of Hugging Face, and a text that it encodes.
#include <nlohmann/json.hpp>

#include "evomoe/base/error.h"
#include "evomoe/text/byte_bpe.h"
#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

using testing::write_text;

std::vector<std::string> tokenizer_seeds(const std::filesystem::path& folder) {
  const std::string text = "the <x> other 12  th\xc3\xa4\xe2\x80\xa6 '\x80\n the";
  write_text(folder / "text", text);
  const auto bpe = ByteBpe::train({folder / "text"}, /*vocab_size=*/260, /*threads=*/1);
  nlohmann::json tokenizer;
  tokenizer["normalizer"] = {{"type", "NFC"}};
  tokenizer["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"pattern", {{"Regex", " ?\\p{L}+|\\s+"}}}, {"behavior", "Isolated"}},
        {{"type", "Digits"}, {"individual_digits", true}},
        {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", true}}}}};
  tokenizer["decoder"] = {{"type", "ByteLevel"}};
  tokenizer["added_tokens"] = nlohmann::json::array(
      {{{"id", bpe.size()}, {"content", "<x>"}, {"lstrip", true}, {"single_word", true}}});
  auto& model = tokenizer["model"];
  model["ignore_merges"] = true;
  for (int32_t id = 0; id < bpe.size(); ++id) model["vocab"][bpe.spelling(id)] = id;
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
