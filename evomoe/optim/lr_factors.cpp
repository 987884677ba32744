#include "evomoe/optim/lr_factors.h"

#include <fmt/ranges.h>

#include <charconv>
#include <cmath>

#include "evomoe/base/error.h"

namespace evomoe {

LrFactors::LrFactors(const std::vector<std::string>& given) {
  for (const auto& text : given) {
    const auto equals = text.find('=');
    if (equals == std::string::npos) {
      fail_usage("--lr-factor {}: it takes kind=factor, e.g. router=2", text);
    }
    const auto name = text.substr(0, equals), digits = text.substr(equals + 1);
    const auto kind = parse_parameter_kind(name);
    if (!kind) {
      fail_usage("--lr-factor {}: there is no kind of parameter '{}'; known: {}", text, name,
                 fmt::join(parameter_kind_names(), ", "));
    }
    double factor = 0;
    const auto* const end = digits.data() + digits.size();
    const auto [read, error] = std::from_chars(digits.data(), end, factor);
    if (error != std::errc() || read != end || !std::isfinite(factor) || factor < 0) {
      fail_usage("--lr-factor {}: the factor must be a finite number of at least 0", text);
    }
    if (!given_.emplace(*kind, factor).second) {
      fail_usage("--lr-factor has {} twice; give it once", name);
    }
  }
}

double LrFactors::of(ParameterKind kind) const {
  const auto found = given_.find(kind);
  return found == given_.end() ? 1.0 : found->second;
}

}  // namespace evomoe
