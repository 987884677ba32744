#include "evomoe/train/budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

constexpr std::array<std::pair<const char*, double Spent::*>, 3> kUnits = {
    std::pair("tokens", &Spent::tokens), std::pair("flops", &Spent::flops),
    std::pair("seconds", &Spent::seconds)};

/// Of a run that has spent nothing yet.
constexpr int64_t kUnknownLength = int64_t{1} << 50;

}  // namespace

Budget::Budget(const std::string& text) {
  const auto equals = std::min(text.find('='), text.size());
  const auto name = text.substr(0, equals);
  for (const auto& [unit, member] : kUnits) {
    if (name == unit) unit_ = member;
  }
  if (unit_ == nullptr || equals == text.size()) {
    fail_usage("--budget {}: it takes tokens=N, flops=N or seconds=N, e.g. flops=1e15", text);
  }
  const auto digits = text.substr(equals + 1);
  const auto* const end = digits.data() + digits.size();
  const auto [read, error] = std::from_chars(digits.data(), end, amount_);
  if (error != std::errc() || read != end || !std::isfinite(amount_) || amount_ <= 0)
    fail_usage("--budget {}: '{}' must be a finite number above 0", text, digits);
}

int64_t Budget::length(int64_t completed, const Spent& spent) const {
  const double part = share(spent);
  if (part <= 0) return kUnknownLength;
  // The last update may end beyond the budget. What remains of rounding makes no update of its own.
  const double updates = std::ceil(static_cast<double>(completed) / part * (1 - 1e-12));
  return std::clamp(static_cast<int64_t>(std::min(updates, 1e15)), completed, kUnknownLength);
}

}  // namespace evomoe
