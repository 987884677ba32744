#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"

/// Reading a `tokenizer.json` (internal to its readers).
namespace evomoe {

/// A field; null where it is not there.
inline const nlohmann::json& tokenizer_field(const nlohmann::json& part, const std::string& name) {
  static const nlohmann::json kNone;
  if (!part.is_object()) return kNone;
  const auto found = part.find(name);
  return found == part.end() ? kNone : *found;
}

/// The beginning of a value, for a message.
inline std::string shown_value(const nlohmann::json& value) {
  constexpr size_t kMost = 80;
  auto text = json_text(value);
  return text.size() <= kMost ? text : text.substr(0, kMost - 3) + "...";
}

/// Error for what a tokenizer is or has that none here has.
template <typename... Args>
[[noreturn]] void refuse_tokenizer(const std::string& name, fmt::format_string<Args...> what,
                                   Args&&... args) {
  fail(
      "{}: {}, which is not read here; a byte-level BPE as of GPT-2, Llama 3, OLMo, SmolLM or Qwen "
      "is. Let the tokenizer's own program turn text into ids, one line of numbers for each line "
      "of text, and give these to the command with --bpe none",
      name, fmt::format(what, std::forward<Args>(args)...));
}

}  // namespace evomoe
