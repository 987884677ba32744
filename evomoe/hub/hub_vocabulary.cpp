#include "evomoe/hub/hub_vocabulary.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/base/json_file.h"
#include "evomoe/base/json_text.h"
#include "evomoe/text/bpe_folder.h"
#include "evomoe/text/text_tokens.h"
#include "evomoe/text/tokenizer_rules.h"
#include "evomoe/text/unicode.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::array<const char*, Dictionary::kSpecials> kTheirSpecials = {"bos", "pad", "eos",
                                                                           "unk"};

std::string text_of_file(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// A JSON file of a model; one that is not there has no fields.
struct HubFile {
  explicit HubFile(fs::path from)
      : path(std::move(from)), fields(fs::exists(path) ? read_json_file(path) : json::object()) {}

  json field(const std::string& name) const { return fields.value(name, json()); }

  fs::path path;
  json fields;
};

/// The ids that a model's files give the specials.
class SpecialTokens {
 public:
  SpecialTokens(const fs::path& folder, int64_t vocab_size, const ByteBpe& tokenizer)
      : of_ids_{HubFile(folder / "config.json"), HubFile(folder / kGenerationConfigFile)},
        of_names_{HubFile(folder / kTokenizerConfigFile),
                  HubFile(folder / "special_tokens_map.json")},
        vocab_size_(vocab_size),
        tokenizer_(tokenizer) {}

  const json& tokenizer_config() const { return of_names_.front().fields; }

  /// Nothing: the model lacks it.
  std::optional<int64_t> find(const std::string& name) const {
    for (const auto& file : of_ids_) {
      const auto ids = ids_in(file, name + "_token_id");
      if (ids.empty()) continue;
      const auto named = named_token(name + "_token");
      return named && std::ranges::find(ids, *named) != ids.end() ? *named : ids.front();
    }
    if (const auto named = named_token(name + "_token")) return named;
    const int64_t unknown = name == "unk" ? tokenizer_.rules()->unknown : -1;
    return unknown < 0 ? std::nullopt : std::optional(unknown);
  }

 private:
  /// One, or a list of several; below 0 stands for none.
  std::vector<int64_t> ids_in(const HubFile& file, const std::string& name) const {
    const auto value = file.field(name);
    std::vector<int64_t> ids;
    const auto add = [&](const json& id) {
      EVOMOE_CHECK(id.is_number_integer() && id < vocab_size_,
                   "{}: `{}` is {}; it must be an id of the model's {} tokens (`vocab_size`)",
                   file.path.string(), name, json_text(id), vocab_size_);
      if (id >= 0) ids.push_back(id.get<int64_t>());
    };
    if (value.is_array()) {
      for (const auto& id : value) add(id);
    } else if (!value.is_null()) {
      add(value);
    }
    return ids;
  }

  /// Of "<s>" or {"content": "<s>", ...}.
  std::optional<int64_t> named_token(const std::string& name) const {
    for (const auto& file : of_names_) {
      auto value = file.field(name);
      if (value.is_object()) value = value.value("content", json());
      if (!value.is_string()) continue;
      if (const auto id = tokenizer_.token_of(value.get<std::string>())) return *id;
    }
    return std::nullopt;
  }

  std::array<HubFile, 2> of_ids_, of_names_;
  int64_t vocab_size_;
  const ByteBpe& tokenizer_;
};

/// Rows that no text has, those first that nothing else can mean: beyond the tokenizer, reserved
/// special tokens, bytes that are never in UTF-8, special tokens that no chat has, the last first.
std::vector<int64_t> unused_rows(const fs::path& folder, const json& tokenizer_config,
                                 const ByteBpe& tokenizer, int64_t vocab_size) {
  std::vector<int64_t> rows;
  for (int64_t id = 0; id < vocab_size; ++id) {
    if (id >= tokenizer.size() || tokenizer.bytes(static_cast<int32_t>(id)).empty())
      rows.push_back(id);
  }
  for (const auto& token : tokenizer.rules()->added) {
    const auto name = lower_case(token.text);
    const auto has = [&](const char* word) { return name.find(word) != std::string::npos; };
    if (token.special && (has("reserved") || has("unused") || has("extra_id")))
      rows.push_back(token.id);
  }
  for (int byte = 0xC0; byte <= 0xFF; ++byte) {
    if (byte > 0xC1 && byte < 0xF5) continue;
    if (const auto id = tokenizer.token_of(std::string(1, static_cast<char>(byte))))
      rows.push_back(*id);
  }
  const auto chat = json_text(tokenizer_config) + text_of_file(folder / "chat_template.jinja") +
                    text_of_file(folder / "chat_template.json");
  const auto& added = tokenizer.rules()->added;
  for (auto token = added.rbegin(); token != added.rend(); ++token) {
    if (token->special && chat.find(token->text) == std::string::npos) rows.push_back(token->id);
  }
  return rows;
}

Dictionary::SpecialIds special_ids_of(const fs::path& folder, int64_t vocab_size,
                                      const ByteBpe& tokenizer) {
  const SpecialTokens tokens(folder, vocab_size, tokenizer);
  Dictionary::SpecialIds ids{-1, -1, -1, -1};
  // The end first: where it is another one as well, that is what text and training have.
  std::set<int64_t> taken;
  for (const auto i : {Dictionary::kEos, Dictionary::kBos, Dictionary::kPad, Dictionary::kUnk}) {
    const auto at = static_cast<size_t>(i);
    const auto id = tokens.find(kTheirSpecials[at]);
    if (id && taken.insert(*id).second) ids[at] = *id;
  }
  for (const auto id : tokenizer.rules()->at_start) taken.insert(id);
  auto unused = unused_rows(folder, tokens.tokenizer_config(), tokenizer, vocab_size);
  std::erase_if(unused, [&](int64_t id) { return !taken.insert(id).second; });
  auto next = unused.begin();
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0) continue;
    EVOMOE_CHECK(next != unused.end(),
                 "{}: the model has no {} token of its own, and its vocabulary no row that text "
                 "never has, which could stand for it; add a special token `<|reserved|>` to "
                 "tokenizer.json",
                 folder.string(), kTheirSpecials[i]);
    ids[i] = *next++;
  }
  return ids;
}

/// Rows of ours in the order of theirs, each once.
std::vector<int64_t> order_of_ids(const Dictionary& dictionary) {
  std::vector<int64_t> ours(static_cast<size_t>(dictionary.size()), -1);
  for (int64_t token = 0; token < dictionary.size(); ++token) {
    std::optional<int64_t> id;
    if (token < Dictionary::kSpecials) {
      id = dictionary.special_ids()->at(static_cast<size_t>(token));
    } else if (const auto of_symbol = bpe_token_of(dictionary.symbol(token))) {
      id = *of_symbol;
    }
    EVOMOE_CHECK(id && *id < dictionary.size() && ours[static_cast<size_t>(*id)] < 0,
                 "the dictionary's symbol `{}` is no id of 0 to {} that comes once; dict.txt or "
                 "dict.ids.json is not the one that `evomoe convert --from hf` wrote",
                 dictionary.symbol(token), dictionary.size() - 1);
    ours[static_cast<size_t>(*id)] = token;
  }
  return ours;
}

torch::Tensor indices_of(const HubRows& order) { return torch::tensor(order.ours, torch::kInt64); }

}  // namespace

Dictionary hub_dictionary(const fs::path& folder, int64_t vocab_size, const ByteBpe* tokenizer) {
  Dictionary dictionary;
  if (tokenizer == nullptr) {
    for (int64_t i = dictionary.size(); i < vocab_size; ++i) dictionary.add(std::to_string(i));
    return dictionary;
  }
  EVOMOE_CHECK(tokenizer->size() <= vocab_size,
               "{}: tokenizer.json has {} tokens, and the model {} rows (`vocab_size` of "
               "config.json); they do not belong together",
               folder.string(), tokenizer->size(), vocab_size);
  const auto special = special_ids_of(folder, vocab_size, *tokenizer);
  for (int64_t id = 0; id < vocab_size; ++id) {
    if (std::ranges::find(special, id) == special.end()) dictionary.add(std::to_string(id));
  }
  dictionary.set_special_ids(special);
  return dictionary;
}

HubRows hub_rows(const Dictionary& dictionary, const ByteBpe* bpe) {
  HubRows rows{{}, {Dictionary::kBos, Dictionary::kPad, Dictionary::kEos, Dictionary::kUnk}};
  if (dictionary.special_ids()) {
    rows.ours = order_of_ids(dictionary);
    rows.special_id = *dictionary.special_ids();
  } else if (bpe != nullptr) {
    rows.ours = tokens_of_bpe_ids(*bpe, dictionary);
    std::vector<char> placed(static_cast<size_t>(dictionary.size()));
    for (const auto token : rows.ours) placed[static_cast<size_t>(token)] = 1;
    for (int64_t token = 0; token < dictionary.size(); ++token) {
      const auto at = static_cast<size_t>(token);
      if (token >= Dictionary::kSpecials && placed[at] != 0) continue;
      if (token < Dictionary::kSpecials)
        rows.special_id[at] = static_cast<int64_t>(rows.ours.size());
      rows.ours.push_back(token);
    }
  }
  return rows;
}

void to_our_rows(torch::Tensor rows, const HubRows& order) {
  if (order.ours.empty()) return;
  const torch::NoGradGuard no_grad;
  rows.copy_(torch::empty_like(rows).index_copy_(0, indices_of(order), rows));
}

torch::Tensor in_their_rows(const torch::Tensor& rows, const HubRows& order) {
  if (order.ours.empty()) return rows;
  const torch::NoGradGuard no_grad;
  return rows.index_select(0, indices_of(order));
}

}  // namespace evomoe
