#include "evomoe/checkpoint/load_into.h"

#include <fmt/ranges.h>

#include <set>

#include "evomoe/base/error.h"

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

}  // namespace

void load_into(const std::vector<std::pair<std::string, torch::Tensor>>& destination,
               const TensorMap& source, const std::string& what) {
  std::vector<std::string> missing, unknown, different;
  std::set<std::string> wanted;
  for (const auto& [name, tensor] : destination) {
    wanted.insert(name);
    const auto found = source.find(name);
    if (found == source.end()) {
      missing.push_back(name);
    } else if (found->second.sizes() != tensor.sizes() ||
               found->second.scalar_type() != tensor.scalar_type()) {
      different.push_back(fmt::format("{} (is {}, the model has {})", name, describe(found->second),
                                      describe(tensor)));
    }
  }
  for (const auto& [name, tensor] : source) {
    if (!wanted.contains(name)) unknown.push_back(name);
  }
  if (!missing.empty() || !unknown.empty() || !different.empty()) {
    std::string message = fmt::format("{} does not fit the model", what);
    append_problems(message, "missing", missing);
    append_problems(message, "unknown", unknown);
    append_problems(message, "of another shape or type", different);
    fail("{}; build the model with the options it was saved with", message);
  }

  torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : destination) {
    torch::Tensor target = tensor;
    target.copy_(source.at(name));
  }
}

}  // namespace evomoe
