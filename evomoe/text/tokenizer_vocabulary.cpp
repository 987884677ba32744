#include "evomoe/text/tokenizer_vocabulary.h"

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/text/byte_alphabet.h"
#include "evomoe/text/tokenizer_fields.h"

namespace evomoe {
namespace {

using nlohmann::json;

class VocabularyReader {
 public:
  explicit VocabularyReader(std::string name) : name_(std::move(name)) {}

  TokenizerVocabulary read(const json& file) {
    const auto& model = tokenizer_field(file, "model");
    const auto& vocab = tokenizer_field(model, "vocab");
    EVOMOE_CHECK(vocab.is_object() && !vocab.empty(),
                 "{}: `vocab` of its model is {}; it must be an object of tokens with their ids",
                 name_, shown_value(vocab));
    for (const auto& [spelling, id] : vocab.items()) {
      auto bytes = spelling;
      std::string plain;
      if (unspell_bytes(spelling, plain)) bytes = plain;
      add(spelling, id_in(id, spelling), std::move(bytes));
    }
    of_model_ = static_cast<int32_t>(all_.id_of.size());
    const auto& added_tokens = tokenizer_field(file, "added_tokens");
    for (const auto& each : added_tokens) add_token(each);
    return std::move(all_);
  }

 private:
  int32_t id_in(const json& id, const std::string& spelling) const {
    constexpr int64_t kMost = 1 << 21;  // the largest vocabularies have 2^18 tokens
    EVOMOE_CHECK(id.is_number_integer() && id >= 0 && id < kMost,
                 "{}: token `{}` has id {}; it must be an integer of 0 to {}", name_, spelling,
                 shown_value(id), kMost - 1);
    return id.get<int32_t>();
  }

  void add(const std::string& spelling, int32_t id, std::string of_bytes) {
    const auto at = static_cast<size_t>(id);
    if (at >= all_.bytes.size()) {
      all_.bytes.resize(at + 1);
      taken_.resize(at + 1);
    }
    EVOMOE_CHECK(!taken_[at], "{}: tokens `{}` and `{}` both have id {}", name_,
                 spell_bytes(all_.bytes[at]), spelling, id);
    taken_[at] = true;
    all_.bytes[at] = std::move(of_bytes);
    all_.id_of.emplace(spelling, id);
  }

  void add_token(const json& each) {
    const auto& content = tokenizer_field(each, "content");
    EVOMOE_CHECK(content.is_string(), "{}: an added token without `content`: {}", name_,
                 shown_value(each));
    TokenizerRules::AddedToken token;
    token.text = content.get<std::string>();
    token.id = id_in(tokenizer_field(each, "id"), token.text);
    const std::vector<std::pair<const char*, bool*>> flags = {{"special", &token.special},
                                                              {"single_word", &token.single_word},
                                                              {"lstrip", &token.strip_left},
                                                              {"rstrip", &token.strip_right},
                                                              {"normalized", &token.normalized}};
    for (const auto& item : each.items()) {
      const auto& name = item.key();
      if (name == "content" || name == "id") continue;
      const auto found =
          std::ranges::find_if(flags, [&](const auto& flag) { return name == flag.first; });
      EVOMOE_CHECK(found != flags.end() && item.value().is_boolean(),
                   "{}: added token `{}` has `{}` {}, which is not known here", name_, token.text,
                   name, shown_value(item.value()));
      *found->second = item.value().get<bool>();
    }
    const auto known = all_.id_of.find(token.text);
    if (known == all_.id_of.end()) {
      // tokenizers counts them itself, whatever the file says.
      const auto counted = last_added_ < of_model_ ? of_model_ : last_added_ + 1;
      EVOMOE_CHECK(token.id == counted,
                   "{}: added token `{}` has id {}, and tokenizers would give it {}; write the "
                   "file anew with its save_pretrained()",
                   name_, token.text, token.id, counted);
      add(token.text, token.id, token.text);
    } else {
      EVOMOE_CHECK(known->second == token.id, "{}: `{}` has id {} as an added token, else {}",
                   name_, token.text, token.id, known->second);
      all_.bytes[static_cast<size_t>(token.id)] = token.text;
    }
    last_added_ = std::max(last_added_, token.id);
    all_.added.push_back(std::move(token));
  }

  std::string name_;
  TokenizerVocabulary all_;
  int32_t of_model_ = 0;     // tokens of the model
  int32_t last_added_ = -1;  // the highest id of an added one
  std::vector<bool> taken_;
};

}  // namespace

TokenizerVocabulary tokenizer_vocabulary(const json& file, const std::string& name) {
  return VocabularyReader(name).read(file);
}

}  // namespace evomoe
