#include "evomoe/text/dictionary.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <ostream>
#include <unordered_set>

#include "evomoe/base/error.h"
#include "evomoe/base/json_file.h"
#include "evomoe/base/write_file.h"
#include "evomoe/text/parse_number.h"
#include "evomoe/text/text_lines.h"

namespace evomoe {
namespace {

/// Behind a count: the symbol takes the place of an earlier one that is spelled alike.
constexpr std::string_view kOverwrite = " #fairseq:overwrite";

constexpr std::array<const char*, Dictionary::kSpecials> kSpecialSymbols = {"<s>", "<pad>", "</s>",
                                                                            "<unk>"};

Dictionary::SpecialIds read_special_ids(const std::filesystem::path& path) {
  const auto json = read_json_file(path);
  Dictionary::SpecialIds ids{};
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool there =
        json.contains(kSpecialSymbols[i]) && json[kSpecialSymbols[i]].is_number_integer();
    EVOMOE_CHECK(
        there && json[kSpecialSymbols[i]] >= 0,
        "{}: no id of `{}`; the file must be the one that `evomoe convert --from hf` wrote "
        "with the dictionary",
        path.string(), kSpecialSymbols[i]);
    ids[i] = json[kSpecialSymbols[i]].get<int64_t>();
  }
  return ids;
}

}  // namespace

std::filesystem::path special_ids_file(const std::filesystem::path& dictionary) {
  return std::filesystem::path(dictionary).replace_extension(".ids.json");
}

Dictionary::Dictionary() {
  for (const char* special : kSpecialSymbols) add(special, 1);
}

Dictionary Dictionary::load(const std::filesystem::path& path) {
  const MappedFile file(path);
  warn_of_byte_order_mark(file.bytes(), path.string());
  Dictionary dictionary;
  int64_t number = 0;
  for_each_line(file.bytes(), [&](std::string_view line) {
    ++number;
    require_utf8(line, fmt::format("{}:{}", path.string(), number));
    line = strip_end(line);
    const bool overwrite = line.ends_with(kOverwrite);
    if (overwrite) line.remove_suffix(kOverwrite.size());
    const size_t space = line.rfind(' ');
    std::optional<int64_t> count;
    if (space != std::string_view::npos) count = parse_int(line.substr(space + 1));
    EVOMOE_CHECK(count.has_value(),
                 "{}:{}: expected `symbol count`, found `{}`; this is no fairseq dictionary",
                 path.string(), number, line);
    const auto symbol = line.substr(0, space);
    EVOMOE_CHECK(overwrite || !dictionary.contains(symbol),
                 "{}:{}: symbol `{}` comes a second time; remove the line, or end it with "
                 "` #fairseq:overwrite` to let it take the place of the first",
                 path.string(), number, symbol);
    dictionary.add(symbol, *count, overwrite);
  });
  EVOMOE_CHECK(dictionary.size() > kSpecials,
               "{}: no symbol in it; copy the dict.txt that the data was made with again, or make "
               "both with `evomoe preprocess`",
               path.string());
  if (const auto ids = special_ids_file(path); std::filesystem::exists(ids)) {
    const auto special_ids = read_special_ids(ids);
    try {
      dictionary.set_special_ids(special_ids);
    } catch (const Error& error) {
      fail("{}: {}", ids.string(), error.what());
    }
  }
  return dictionary;
}

void Dictionary::save(const std::filesystem::path& path) const {
  write_file(path, [&](std::ostream& stream) {
    std::unordered_set<std::string_view> written(symbols_.begin(), symbols_.begin() + kSpecials);
    for (int64_t i = kSpecials; i < size(); ++i) {
      const bool overwrites = !written.insert(symbols_[i]).second;
      stream << symbols_[i] << ' ' << counts_[i] << (overwrites ? kOverwrite : "") << '\n';
    }
  });
  const auto ids_path = special_ids_file(path);
  if (!special_ids_) {
    std::filesystem::remove(ids_path);
    return;
  }
  nlohmann::ordered_json ids;
  for (size_t i = 0; i < kSpecials; ++i) ids[kSpecialSymbols[i]] = (*special_ids_)[i];
  write_json_file(ids_path, ids);
}

void Dictionary::set_special_ids(const SpecialIds& ids) {
  for (size_t i = 0; i < kSpecials; ++i) {
    const auto symbol = std::to_string(ids[i]);
    const auto known = indices_.find(symbol);
    EVOMOE_CHECK(known == indices_.end(), "{} is the id of `{}`, and of token {}, `{}`, already",
                 symbol, kSpecialSymbols[i], known->second, symbols_[known->second]);
    indices_.emplace(symbol, static_cast<int64_t>(i));
  }
  special_ids_ = ids;
}

int64_t Dictionary::add(std::string_view symbol, int64_t count, bool overwrite) {
  const auto found = indices_.find(symbol);
  if (found != indices_.end() && !overwrite) {
    counts_[found->second] += count;
    return found->second;
  }
  const int64_t index = size();
  symbols_.emplace_back(symbol);
  counts_.push_back(count);
  indices_.insert_or_assign(std::string(symbol), index);
  return index;
}

void Dictionary::finalize(int64_t threshold, int64_t max_symbols, int64_t padding_factor) {
  if (max_symbols <= 0) max_symbols = size();
  std::vector<int64_t> order(size() - kSpecials);
  std::iota(order.begin(), order.end(), kSpecials);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return counts_[a] != counts_[b] ? counts_[a] > counts_[b] : symbols_[a] < symbols_[b];
  });
  Dictionary sorted;
  for (int64_t i = 0; i < kSpecials; ++i) sorted.counts_[i] = counts_[i];
  for (const int64_t i : order) {
    if (sorted.size() >= max_symbols || counts_[i] < threshold) break;
    sorted.add(symbols_[i], counts_[i]);
  }
  for (int64_t i = 0; padding_factor > 1 && sorted.size() % padding_factor != 0; ++i) {
    sorted.add(fmt::format("madeupword{:04}", i), 0);
  }
  *this = std::move(sorted);
}

int64_t Dictionary::index(std::string_view symbol) const {
  const auto found = indices_.find(symbol);
  return found == indices_.end() ? kUnk : found->second;
}

const std::string& Dictionary::symbol(int64_t index) const {
  EVOMOE_CHECK(index >= 0 && index < size(),
               "token {} is outside the dictionary of {} symbols; data and dictionary do not match",
               index, size());
  return symbols_[index];
}

int64_t Dictionary::count(int64_t index) const {
  symbol(index);
  return counts_[index];
}

std::vector<int64_t> Dictionary::encode_line(std::string_view line, bool append_eos,
                                             int64_t* replaced) const {
  std::vector<int64_t> ids;
  for_each_word(line, [&](std::string_view word) {
    ids.push_back(index(word));
    if (replaced != nullptr && ids.back() == kUnk && word != symbols_[kUnk]) ++*replaced;
  });
  if (append_eos) ids.push_back(kEos);
  return ids;
}

std::string Dictionary::string(const std::vector<int64_t>& ids) const {
  std::string text;
  for (const int64_t id : ids) {
    if (id == kBos || id == kEos) continue;
    if (!text.empty()) text += ' ';
    text += symbol(id);
  }
  return text;
}

}  // namespace evomoe
