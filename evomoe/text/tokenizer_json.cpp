// `tokenizer.json` of Hugging Face's tokenizers, as far as it is a byte-level BPE.
#include <nlohmann/json.hpp>

#include "evomoe/base/error.h"
#include "evomoe/base/json_file.h"
#include "evomoe/base/log.h"
#include "evomoe/text/bpe_folder.h"
#include "evomoe/text/byte_alphabet.h"
#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/tokenizer_fields.h"
#include "evomoe/text/tokenizer_rules_json.h"
#include "evomoe/text/tokenizer_vocabulary.h"

namespace evomoe {
namespace {

using nlohmann::json;

/// Calls `merge(left, right)` for each, in order.
template <typename Merge>
void for_each_merge(const json& merges, const std::string& name, const Merge& merge) {
  EVOMOE_CHECK(merges.is_array(), "{}: `merges` of its model is {}; it must be a list", name,
               shown_value(merges));
  for (const auto& each : merges) {
    std::string left, right;
    if (each.is_array() && each.size() == 2 && each[0].is_string() && each[1].is_string()) {
      left = each[0].get<std::string>();
      right = each[1].get<std::string>();
    } else if (each.is_string()) {
      const auto& pair = each.get_ref<const std::string&>();
      const size_t space = pair.find(' ');
      if (space != std::string::npos && pair.find(' ', space + 1) == std::string::npos) {
        left = pair.substr(0, space);
        right = pair.substr(space + 1);
      }
    }
    EVOMOE_CHECK(!left.empty() && !right.empty(), "{}: merge {} is no pair of tokens", name,
                 shown_value(each));
    merge(left, right);
  }
}

/// A warning where bytes have no token that many texts have: of all but control characters and
/// planes of Unicode that nobody uses.
void tell_missing_bytes(const std::vector<int32_t>& byte_id, const std::string& name) {
  const auto in_texts = [](int byte) {
    const bool control = byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r';
    return !control && byte != 0x7F && byte != 0xC0 && byte != 0xC1 && byte <= 0xF0;
  };
  int missing = 0;
  for (int byte = 0; byte < 256; ++byte)
    missing += in_texts(byte) && byte_id[static_cast<size_t>(byte)] < 0 ? 1 : 0;
  if (missing > 0) {
    log().warn("{}: {} bytes have no token, so parts of some texts are lost (as in tokenizers)",
               name, missing);
  }
}

/// What tokenizer_config.json beside it says, if it is there.
bool splits_special_tokens(const std::filesystem::path& folder) {
  const auto path = folder / kTokenizerConfigFile;
  return std::filesystem::exists(path) &&
         tokenizer_field(read_json_file(path), "split_special_tokens") == json(true);
}

}  // namespace

ByteBpe ByteBpe::load_tokenizer(const std::filesystem::path& tokenizer_json) {
  const auto name = tokenizer_json.string();
  const auto file = read_json_file(tokenizer_json);
  EVOMOE_CHECK(tokenizer_field(file, "model").is_object(),
               "{}: is no tokenizer of Hugging Face, which has an object `model`; give the "
               "tokenizer.json that save_pretrained() writes",
               name);
  const auto& model = file["model"];
  const auto& type = tokenizer_field(model, "type");
  if (!type.is_null() && type != json("BPE"))
    refuse_tokenizer(name, "its model is {}", shown_value(type));
  auto vocabulary = tokenizer_vocabulary(file, name);
  auto rules = tokenizer_rules(file, name, vocabulary.id_of);
  ByteBpe bpe;
  rules.added = std::move(vocabulary.added);
  rules.special_as_text = splits_special_tokens(tokenizer_json.parent_path());
  if (rules.whole_words) {
    const auto& vocab = model["vocab"];
    for (const auto& [spelling, id] : vocab.items()) {
      std::string bytes;
      if (unspell_bytes(spelling, bytes)) bpe.id_of_.emplace(std::move(bytes), id.get<int32_t>());
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = vocabulary.id_of.find(spell_bytes(std::string(1, static_cast<char>(byte))));
    bpe.byte_id_.push_back(found == vocabulary.id_of.end() ? -1 : found->second);
  }
  if (rules.unknown < 0) tell_missing_bytes(bpe.byte_id_, name);
  for_each_merge(tokenizer_field(model, "merges"), name,
                 [&](const std::string& left, const std::string& right) {
                   const auto id = [&](const std::string& spelling) {
                     const auto found = vocabulary.id_of.find(spelling);
                     EVOMOE_CHECK(found != vocabulary.id_of.end(),
                                  "{}: the merge of `{}` and `{}` has or makes `{}`, which is not "
                                  "in the vocabulary; the file was changed or is of two tokenizers",
                                  name, left, right, spelling);
                     return found->second;
                   };
                   bpe.add_merge(id(left), id(right), id(left + right));
                 });
  bpe.bytes_of_ = std::move(vocabulary.bytes);
  bpe.rules_ = std::make_shared<const TokenizerRules>(std::move(rules));
  return bpe;
}

}  // namespace evomoe
