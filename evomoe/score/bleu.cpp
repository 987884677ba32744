#include "evomoe/score/bleu.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/score/bleu_words.h"
#include "evomoe/text/unicode.h"

namespace evomoe {
namespace {

constexpr size_t kOrders = 4;

/// Counts a sentence's n-grams of words of any ordered type.
template <typename Word>
void count_sentence(BleuCounts& counts, const std::vector<Word>& reference,
                    const std::vector<Word>& system) {
  counts.reference_length += static_cast<int64_t>(reference.size());
  counts.system_length += static_cast<int64_t>(system.size());
  for (size_t n = 1; n <= kOrders && n <= system.size(); ++n) {
    counts.total[n - 1] += static_cast<int64_t>(system.size() - n + 1);
    std::map<std::vector<Word>, int64_t> left;
    for (size_t i = 0; i + n <= system.size(); ++i)
      ++left[{system.begin() + static_cast<std::ptrdiff_t>(i),
              system.begin() + static_cast<std::ptrdiff_t>(i + n)}];
    for (size_t i = 0; i + n <= reference.size(); ++i) {
      const auto found = left.find({reference.begin() + static_cast<std::ptrdiff_t>(i),
                                    reference.begin() + static_cast<std::ptrdiff_t>(i + n)});
      if (found == left.end() || found->second == 0) continue;
      --found->second;
      ++counts.matched[n - 1];
    }
  }
}

double quotient(int64_t a, int64_t b) {
  return b > 0 ? static_cast<double>(a) / static_cast<double>(b) : 0.0;
}

/// The last token stays, as in fairseq, so that no sentence is without length.
void trim(std::vector<int64_t>& tokens, const TokenBleu::Special& special) {
  tokens.erase(tokens.begin(), std::find_if(tokens.begin(), tokens.end(),
                                            [&](auto token) { return token != special.pad; }));
  while (tokens.size() > 1 && (tokens.back() == special.eos || tokens.back() == special.pad))
    tokens.pop_back();
}

}  // namespace

void TokenBleu::add(std::vector<int64_t> reference, std::vector<int64_t> system) {
  // No token has this number, so an unknown one of the reference matches nothing.
  constexpr int64_t kNothing = -999;
  std::replace(reference.begin(), reference.end(), special_.unk, kNothing);
  trim(reference, special_);
  trim(system, special_);
  count_sentence(counts_, reference, system);
}

void TokenBleu::reset(bool smooth) {
  counts_ = BleuCounts();
  if (!smooth) return;
  for (size_t n = 1; n < kOrders; ++n) counts_.matched[n] = counts_.total[n] = 1;
}

double TokenBleu::precision(size_t n) const {
  return quotient(counts_.matched[n], counts_.total[n]);
}

double TokenBleu::brevity() const {
  EVOMOE_CHECK(
      counts_.system_length > 0 && counts_.reference_length > 0,
      "BLEU of {} system and {} reference tokens is not defined: there is nothing to score",
      counts_.system_length, counts_.reference_length);
  return std::min(1.0, std::exp(1 - quotient(counts_.reference_length, counts_.system_length)));
}

double TokenBleu::score(int64_t order) const {
  if (order < 1 || order > static_cast<int64_t>(kOrders))
    fail_usage("--order {}: BLEU is counted for 1 to 4 words", order);
  double sum = 0;
  for (size_t n = 0; n < static_cast<size_t>(order); ++n) {
    if (precision(n) == 0) return brevity() * 0.0;
    sum += std::log(precision(n));
  }
  return brevity() * std::exp(sum / static_cast<double>(order)) * 100;
}

std::string TokenBleu::result_line(int64_t order) const {
  auto line = fmt::format("BLEU{} = {:2.2f}, ", order, score(order));
  for (size_t n = 0; n < static_cast<size_t>(order); ++n)
    line += fmt::format("{}{:2.1f}", n == 0 ? "" : "/", precision(n) * 100);
  return line + fmt::format(" (BP={:.3f}, ratio={:.3f}, syslen={}, reflen={})", brevity(),
                            quotient(counts_.system_length, counts_.reference_length),
                            counts_.system_length, counts_.reference_length);
}

TextBleu::TextBleu(Options options) : options_(std::move(options)) {
  bleu_words("", options_.tokenize);  // refuses an unknown one now
}

BleuCounts& BleuCounts::operator+=(const BleuCounts& other) {
  for (size_t n = 0; n < kOrders; ++n) {
    matched[n] += other.matched[n];
    total[n] += other.total[n];
  }
  system_length += other.system_length;
  reference_length += other.reference_length;
  return *this;
}

void TextBleu::add(std::string_view reference, std::string_view system) {
  const auto words = [&](std::string_view text) {
    return options_.lowercase ? bleu_words(lower_case(text), options_.tokenize)
                              : bleu_words(text, options_.tokenize);
  };
  count_sentence(counts_, words(reference), words(system));
}

std::vector<double> TextBleu::precisions() const {
  std::vector<double> result(kOrders, 0.0);
  if (std::all_of(counts_.matched.begin(), counts_.matched.end(), [](auto m) { return m == 0; }))
    return result;
  double smoothing = 1;
  for (size_t n = 0; n < kOrders && counts_.total[n] > 0; ++n) {
    const auto total = static_cast<double>(counts_.total[n]);
    if (counts_.matched[n] == 0) {
      smoothing *= 2;
      result[n] = 100 / (smoothing * total);
    } else {
      result[n] = 100 * static_cast<double>(counts_.matched[n]) / total;
    }
  }
  return result;
}

double TextBleu::brevity() const {
  if (counts_.system_length >= counts_.reference_length) return 1;
  if (counts_.system_length == 0) return 0;
  return std::exp(1 - quotient(counts_.reference_length, counts_.system_length));
}

double TextBleu::score() const {
  double sum = 0;
  for (const auto precision : precisions()) {
    if (precision == 0) return 0;
    sum += std::log(precision);
  }
  return brevity() * std::exp(sum / static_cast<double>(kOrders));
}

std::string TextBleu::result_line() const {
  const auto p = precisions();
  return fmt::format(
      "BLEU = {:.2f} {:.1f}/{:.1f}/{:.1f}/{:.1f} (BP = {:.3f} ratio = {:.3f} hyp_len = {} ref_len "
      "= "
      "{})",
      score(), p[0], p[1], p[2], p[3], brevity(),
      quotient(counts_.system_length, counts_.reference_length), counts_.system_length,
      counts_.reference_length);
}

std::string TextBleu::signature() const {
  return fmt::format("nrefs:1|case:{}|eff:no|tok:{}|smooth:exp|version:evomoe",
                     options_.lowercase ? "lc" : "mixed", options_.tokenize);
}

}  // namespace evomoe
