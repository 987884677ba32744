#include "evomoe/text/byte_bpe.h"

#include <algorithm>
#include <charconv>
#include <ostream>

#include "evomoe/base/error.h"
#include "evomoe/base/json_file.h"
#include "evomoe/base/json_text.h"
#include "evomoe/base/philox.h"
#include "evomoe/base/write_file.h"
#include "evomoe/text/byte_alphabet.h"
#include "evomoe/text/text_lines.h"

namespace evomoe {
namespace {

constexpr uint64_t kNoPair = ~uint64_t{0};

uint64_t pair_key(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

void ByteBpe::add_merge(int32_t left, int32_t right, int32_t merged) {
  const auto place = [this](uint64_t key) {
    const size_t mask = table_.size() - 1;
    size_t at = splitmix64(key) & mask;
    while (table_[at].first != kNoPair && table_[at].first != key) at = (at + 1) & mask;
    return at;
  };
  if (table_.size() < 2 * (merges_.size() + 1)) {
    auto old = std::move(table_);
    table_.assign(std::max<size_t>(1024, 2 * old.size()), {kNoPair, {}});
    for (const auto& entry : old) {
      if (entry.first != kNoPair) table_[place(entry.first)] = entry;
    }
  }
  const uint64_t key = pair_key(left, right);
  table_[place(key)] = {key, {static_cast<int32_t>(merges_.size()), merged}};
  merges_.emplace_back(left, right);
}

ByteBpe::Merge ByteBpe::find_merge(int32_t left, int32_t right) const {
  if (table_.empty()) return {};
  const uint64_t key = pair_key(left, right);
  const size_t mask = table_.size() - 1;
  for (size_t at = splitmix64(key) & mask;; at = (at + 1) & mask) {
    if (table_[at].first == key) return table_[at].second;
    if (table_[at].first == kNoPair) return {};
  }
}

ByteBpe ByteBpe::load(const std::filesystem::path& encoder_json,
                      const std::filesystem::path& vocab_bpe) {
  const auto json = read_json_file(encoder_json);
  const MappedFile merges_file(vocab_bpe);
  EVOMOE_CHECK(!json.empty(),
               "{}: no token in it; it must be GPT-2's encoder.json or one written by this program",
               encoder_json.string());
  ByteBpe bpe;
  bpe.bytes_of_.resize(json.size());
  std::vector<char> taken(json.size(), 0);
  StringMap<int32_t> id_of;
  for (const auto& [spelling, id] : json.items()) {
    EVOMOE_CHECK(id.is_number_integer() && id >= 0 && id < json.size() && !taken[id],
                 "{}: token `{}` has id {}; the ids must be 0 .. {}, each once",
                 encoder_json.string(), spelling, json_text(id), json.size() - 1);
    std::string bytes;
    EVOMOE_CHECK(unspell_bytes(spelling, bytes),
                 "{}: token `{}` holds a character that is not in GPT-2's alphabet of bytes; this "
                 "is no byte-level BPE",
                 encoder_json.string(), spelling);
    taken[id] = 1;
    id_of.emplace(bytes, id);
    bpe.bytes_of_[id] = std::move(bytes);
  }
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = id_of.find(std::string(1, static_cast<char>(byte)));
    EVOMOE_CHECK(found != id_of.end(), "{}: byte {} has no token, so not every text can be encoded",
                 encoder_json.string(), byte);
    bpe.byte_id_.push_back(found->second);
  }
  int64_t number = 0;
  for_each_line(merges_file.bytes(), [&](std::string_view line) {
    ++number;
    if (line.empty() || (number == 1 && line.starts_with("#version"))) return;
    const size_t space = line.find(' ');
    std::string left;
    std::string right;
    EVOMOE_CHECK(space != std::string_view::npos && unspell_bytes(line.substr(0, space), left) &&
                     unspell_bytes(line.substr(space + 1), right),
                 "{}:{}: expected two tokens, found `{}`", vocab_bpe.string(), number, line);
    const auto left_id = id_of.find(left);
    const auto right_id = id_of.find(right);
    const auto merged_id = id_of.find(left + right);
    EVOMOE_CHECK(left_id != id_of.end() && right_id != id_of.end() && merged_id != id_of.end(),
                 "{}:{}: `{}` uses or makes a token that {} does not have; the two files do not "
                 "belong together",
                 vocab_bpe.string(), number, line, encoder_json.string());
    bpe.add_merge(left_id->second, right_id->second, merged_id->second);
  });
  return bpe;
}

void ByteBpe::save(const std::filesystem::path& encoder_json,
                   const std::filesystem::path& vocab_bpe) const {
  std::string encoder = "{";
  for (int32_t id = 0; id < size(); ++id) {
    const auto quoted = nlohmann::json(spelling(id)).dump(-1, ' ', /*ensure_ascii=*/true);
    encoder += fmt::format("{}{}: {}", id == 0 ? "" : ", ", quoted, id);
  }
  write_file(encoder_json, [&](std::ostream& stream) { stream << encoder << "}"; });
  std::string merges = "#version: 0.2\n";
  for (const auto& [left, right] : merges_) {
    merges += fmt::format("{} {}\n", spelling(left), spelling(right));
  }
  write_file(vocab_bpe, [&](std::ostream& stream) { stream << merges; });
}

const std::string& ByteBpe::bytes(int32_t id) const {
  static const std::string none;
  if (rules_ && id >= size()) return none;
  EVOMOE_CHECK(id >= 0 && id < size(),
               "token {} is outside the vocabulary of {} tokens; text and vocabulary do not match",
               id, size());
  return bytes_of_[id];
}

std::string ByteBpe::spelling(int32_t id) const { return spell_bytes(bytes(id)); }

std::optional<int32_t> ByteBpe::token_of(std::string_view text) const {
  const auto found = std::ranges::find(bytes_of_, text);
  if (text.empty() || found == bytes_of_.end()) return std::nullopt;
  return static_cast<int32_t>(found - bytes_of_.begin());
}

std::vector<int32_t> ByteBpe::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  BpeEncoder(*this).encode(text, ids);
  return ids;
}

std::string ByteBpe::decode(const std::vector<int32_t>& ids) const {
  std::string text;
  for (const int32_t id : ids) text += bytes(id);
  return text;
}

std::optional<int32_t> bpe_token_of(std::string_view symbol) {
  int32_t id = 0;
  const auto* end = symbol.data() + symbol.size();
  const auto [read, error] = std::from_chars(symbol.data(), end, id);
  if (error != std::errc() || read != end || id < 0) return std::nullopt;
  return id;
}

}  // namespace evomoe
