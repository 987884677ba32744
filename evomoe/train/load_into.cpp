#include "evomoe/train/load_into.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "evomoe/base/error.h"
#include "evomoe/fairseq/fairseq_names.h"
#include "evomoe/fairseq/fairseq_part.h"

namespace evomoe {
namespace {

/// "2 missing: a, b"; names at most ten.
void append_problems(std::string& message, const char* kind,
                     const std::vector<std::string>& names) {
  constexpr size_t kShown = 10;
  if (names.empty()) return;
  const std::vector<std::string> shown(
      names.begin(), names.begin() + static_cast<long>(std::min(kShown, names.size())));
  message += fmt::format("; {} {}: {}{}", names.size(), kind, fmt::join(shown, ", "),
                         names.size() > kShown ? ", ..." : "");
}

std::string describe(const torch::Tensor& tensor) {
  return fmt::format("{} [{}]", c10::toString(tensor.scalar_type()),
                     fmt::join(tensor.sizes(), ", "));
}

bool is_converted(torch::ScalarType from, torch::ScalarType to) {
  return from == to || (c10::isFloatingType(from) && c10::isFloatingType(to));
}

/// For each tensor of the model the one of the source, and what does not fit.
struct Match {
  std::map<std::string, torch::Tensor> found;
  std::vector<std::string> missing, unknown, different, untied;

  bool fits() const {
    return missing.empty() && unknown.empty() && different.empty() && untied.empty();
  }
};

/// The part of the model that a tensor is in: "encoder" or "decoder".
std::string_view half_of(std::string_view name) { return name.substr(0, name.find('.')); }

/// A tensor that the model has under another name: an embedding that it ties. The embedding of the
/// same half decides; one of the other half only where the same half has none.
void match_tied(const std::string& name, const torch::Tensor& tensor, const NamedTensors& wanted,
                Match& match) {
  std::vector<std::string> same_half, other_half;
  for (const auto& [partner, own] : wanted) {
    if (may_be_embedding(name) && is_embedding(partner) && own.sizes() == tensor.sizes())
      (half_of(partner) == half_of(name) ? same_half : other_half).push_back(partner);
  }
  std::string absent, unequal;
  for (const auto& partner : same_half.empty() ? other_half : same_half) {
    const auto found = match.found.find(partner);
    if (found == match.found.end()) {
      absent = partner;
    } else if (is_same(found->second, tensor)) {
      return;
    } else {
      unequal = partner;
    }
  }
  if (!absent.empty()) {
    match.found[absent] = tensor;
  } else if (!unequal.empty()) {
    match.untied.push_back(fmt::format("{} (from {})", name, unequal));
  } else {
    match.unknown.push_back(name);
  }
}

Match matched(const NamedTensors& wanted, const TensorMap& source) {
  Match match;
  for (const auto& [name, tensor] : wanted) {
    if (const auto found = source.find(name); found != source.end())
      match.found[name] = found->second;
  }
  for (const auto& [name, tensor] : source) {
    if (!match.found.contains(name) && !is_derived(name) && tensor.numel() > 0)
      match_tied(name, tensor, wanted, match);
  }
  for (const auto& [name, tensor] : wanted) {
    const auto found = match.found.find(name);
    if (found == match.found.end()) {
      match.missing.push_back(name);
    } else if (found->second.sizes() != tensor.sizes() ||
               !is_converted(found->second.scalar_type(), tensor.scalar_type())) {
      match.different.push_back(fmt::format("{} (is {}, the model has {})", name,
                                            describe(found->second), describe(tensor)));
    }
  }
  return match;
}

}  // namespace

void load_into(const NamedTensors& destination, const TensorMap& source, const std::string& what,
               const std::string& remedy) {
  const auto match = matched(destination, source);
  if (!match.fits()) {
    std::string message = fmt::format("{} does not fit the model", what);
    append_problems(message, "missing", match.missing);
    append_problems(message, "unknown", match.unknown);
    append_problems(message, "of another shape or type", match.different);
    append_problems(message, "different from what this model ties it to", match.untied);
    fail("{}; {}", message, remedy);
  }
  torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : destination) {
    torch::Tensor target = tensor;
    target.copy_(match.found.at(name));
  }
}

bool fits_into(const NamedTensors& destination, const TensorMap& source) {
  return matched(destination, source).fits();
}

}  // namespace evomoe
