#include "evomoe/text/tokenizer_rules_json.h"

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/text/tokenizer_fields.h"
#include "evomoe/text/tokenizer_pattern.h"

namespace evomoe {
namespace {

using nlohmann::json;

/// Reads the parts of a file whose ids are `id_of`.
class TokenizerParts {
 public:
  using Ids = StringMap<int32_t>;

  TokenizerParts(std::string name, const Ids& id_of) : name_(std::move(name)), id_of_(id_of) {}

  TokenizerRules rules(const json& file) {
    TokenizerRules rules;
    only(file, "it",
         {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
          "post_processor", "decoder", "model"});
    read_model(tokenizer_field(file, "model"), rules);
    read_normalizer(tokenizer_field(file, "normalizer"), rules);
    read_steps(tokenizer_field(file, "pre_tokenizer"), rules);
    if (!byte_level_) {
      refuse_tokenizer(name_, "its pre_tokenizer {} has no ByteLevel",
                       shown_value(tokenizer_field(file, "pre_tokenizer")));
    }
    read_decoder(tokenizer_field(file, "decoder"));
    read_post_processor(tokenizer_field(file, "post_processor"), rules);
    return rules;
  }

 private:
  /// Refuses fields that are not known and not off.
  void only(const json& part, const std::string& what,
            const std::vector<std::string>& known) const {
    for (const auto& [name, value] : part.items()) {
      const bool off =
          value.is_null() || value == json(false) || value == json(0) || value == json("");
      if (!off && std::ranges::find(known, name) == known.end())
        refuse_tokenizer(name_, "{} has `{}` {}", what, name, shown_value(value));
    }
  }
  bool flag(const json& part, const char* name, bool otherwise) const {
    const auto& value = tokenizer_field(part, name);
    if (value.is_null()) return otherwise;
    EVOMOE_CHECK(value.is_boolean(), "{}: `{}` is {}; it must be true or false", name_, name,
                 shown_value(value));
    return value.get<bool>();
  }
  std::string type_of(const json& part) const {
    const auto& type = tokenizer_field(part, "type");
    EVOMOE_CHECK(type.is_string(), "{}: a part without `type`: {}", name_, shown_value(part));
    return type.get<std::string>();
  }
  const json& list(const json& part, const char* name) const {
    const auto& value = tokenizer_field(part, name);
    EVOMOE_CHECK(value.is_array(), "{}: `{}` is {}; it must be a list", name_, name,
                 shown_value(value));
    return value;
  }
  int32_t token(const std::string& spelling, const char* what) const {
    const auto found = id_of_.find(spelling);
    EVOMOE_CHECK(found != id_of_.end(), "{}: {} `{}` is not in the vocabulary", name_, what,
                 spelling);
    return found->second;
  }

  void read_model(const json& model, TokenizerRules& rules) const {
    only(model, "its model", {"type", "unk_token", "fuse_unk", "ignore_merges", "vocab", "merges"});
    rules.whole_words = flag(model, "ignore_merges", false);
    rules.joins_unknown = flag(model, "fuse_unk", false);
    if (const auto& unknown = tokenizer_field(model, "unk_token"); unknown.is_string())
      rules.unknown = token(unknown.get<std::string>(), "its unk_token");
  }

  void read_normalizer(const json& part, TokenizerRules& rules) {
    if (part.is_null()) return;
    const auto type = type_of(part);
    if (type == "Sequence") {
      for (const auto& each : list(part, "normalizers")) read_normalizer(each, rules);
      return;
    }
    using Form = TokenizerRules::Normalization;
    const std::vector<std::pair<std::string, Form>> forms = {
        {"NFC", Form::kNfc}, {"NFD", Form::kNfd}, {"NFKC", Form::kNfkc}, {"NFKD", Form::kNfkd}};
    const auto found =
        std::ranges::find_if(forms, [&](const auto& form) { return form.first == type; });
    if (found == forms.end()) refuse_tokenizer(name_, "its normalizer is {}", type);
    if (rules.normalization != Form::kNone) refuse_tokenizer(name_, "it has two normalizers");
    rules.normalization = found->second;
  }

  void read_steps(const json& part, TokenizerRules& rules) {
    if (part.is_null()) return;
    const auto type = type_of(part);
    const auto what = fmt::format("its pre_tokenizer {}", type);
    if (type == "Sequence") {
      for (const auto& each : list(part, "pretokenizers")) read_steps(each, rules);
      return;
    }
    if (byte_level_) refuse_tokenizer(name_, "it has the pre_tokenizer {} behind ByteLevel", type);
    using Step = TokenizerRules::Step;
    if (type == "ByteLevel") {
      only(part, what, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
      if (flag(part, "add_prefix_space", true))
        rules.steps.push_back({.kind = Step::Kind::kPrefixSpace});
      if (flag(part, "use_regex", true)) rules.steps.push_back({.kind = Step::Kind::kWords});
      byte_level_ = true;
    } else if (type == "Digits") {
      only(part, what, {"type", "individual_digits"});
      rules.steps.push_back(
          {.kind = Step::Kind::kDigits, .single_digits = flag(part, "individual_digits", false)});
    } else if (type == "Split") {
      only(part, what, {"type", "pattern", "behavior", "invert"});
      rules.steps.push_back(split_step(part));
    } else {
      refuse_tokenizer(name_, "its pre_tokenizer is {}", type);
    }
  }

  TokenizerRules::Step split_step(const json& part) const {
    using Behavior = TokenizerRules::Behavior;
    const std::vector<std::pair<std::string, Behavior>> behaviors = {
        {"Isolated", Behavior::kIsolated},
        {"Removed", Behavior::kRemoved},
        {"MergedWithPrevious", Behavior::kMergedWithPrevious},
        {"MergedWithNext", Behavior::kMergedWithNext},
        {"Contiguous", Behavior::kContiguous}};
    const auto& behavior = tokenizer_field(part, "behavior");
    const auto found = std::ranges::find_if(
        behaviors, [&](const auto& each) { return behavior == json(each.first); });
    if (found == behaviors.end())
      refuse_tokenizer(name_, "the `behavior` of its Split is {}", shown_value(behavior));
    const auto& pattern = tokenizer_field(part, "pattern");
    const auto& expression = tokenizer_field(pattern, "Regex");
    const auto& text = tokenizer_field(pattern, "String");
    if (!expression.is_string() && !text.is_string())
      refuse_tokenizer(name_, "the `pattern` of its Split is {}", shown_value(pattern));
    TokenizerRules::Step step;
    step.kind = TokenizerRules::Step::Kind::kPattern;
    step.behavior = found->second;
    step.invert = flag(part, "invert", false);
    try {
      step.pattern = std::make_shared<UnicodePattern>(
          expression.is_string() ? icu_pattern(expression.get<std::string>())
                                 : pattern_of_text(text.get<std::string>()),
          /*of_lines=*/true);
    } catch (const Error& error) {
      refuse_tokenizer(name_, "a Split: {}", error.what());
    }
    return step;
  }

  void read_decoder(const json& part) const {
    if (part.is_null()) refuse_tokenizer(name_, "it has no decoder");
    const auto type = type_of(part);
    if (type == "Sequence") {
      for (const auto& each : list(part, "decoders")) read_decoder(each);
    } else if (type != "ByteLevel") {
      refuse_tokenizer(name_, "its decoder is {}", type);
    }
  }

  void read_post_processor(const json& part, TokenizerRules& rules) const {
    if (part.is_null()) return;
    const auto type = type_of(part);
    if (type == "ByteLevel") return;
    if (type == "Sequence") {
      for (const auto& each : list(part, "processors")) read_post_processor(each, rules);
    } else if (type == "TemplateProcessing") {
      read_template(part, rules);
    } else if (type == "RobertaProcessing" || type == "BertProcessing") {
      rules.at_start.push_back(start_token(part));
    } else {
      refuse_tokenizer(name_, "its post_processor is {}", type);
    }
  }

  /// Of ["<s>", 0].
  int32_t start_token(const json& part) const {
    const auto& pair = list(part, "cls");
    EVOMOE_CHECK(pair.size() == 2 && pair[0].is_string(),
                 "{}: `cls` is {}; it must be a token with its id", name_, shown_value(pair));
    return token(pair[0].get<std::string>(), "the token of its post_processor");
  }

  /// What stands behind the text is of no use: an </s> ends it here.
  void read_template(const json& part, TokenizerRules& rules) const {
    const auto& special = tokenizer_field(part, "special_tokens");
    bool behind = false;
    for (const auto& piece : list(part, "single")) {
      if (!tokenizer_field(piece, "Sequence").is_null()) {
        if (behind) refuse_tokenizer(name_, "its post_processor repeats the text");
        behind = true;
        continue;
      }
      if (behind) continue;
      const auto& name = tokenizer_field(tokenizer_field(piece, "SpecialToken"), "id");
      const auto& tokens =
          name.is_string()
              ? tokenizer_field(tokenizer_field(special, name.get<std::string>()), "tokens")
              : name;
      EVOMOE_CHECK(tokens.is_array(), "{}: its post_processor has {}, which `special_tokens` lacks",
                   name_, shown_value(piece));
      for (const auto& each : tokens) {
        EVOMOE_CHECK(each.is_string(), "{}: a token of its post_processor is {}", name_,
                     shown_value(each));
        rules.at_start.push_back(token(each.get<std::string>(), "the token of its post_processor"));
      }
    }
    if (!behind) refuse_tokenizer(name_, "its post_processor leaves the text out");
  }

  std::string name_;
  const Ids& id_of_;
  bool byte_level_ = false;
};

}  // namespace

TokenizerRules tokenizer_rules(const json& file, const std::string& name,
                               const StringMap<int32_t>& id_of) {
  return TokenizerParts(name, id_of).rules(file);
}

}  // namespace evomoe
