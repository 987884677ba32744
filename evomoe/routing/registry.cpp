#include "evomoe/routing/registry.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/routing/dense_router.h"
#include "evomoe/routing/dts_router.h"
#include "evomoe/routing/gshard_router.h"
#include "evomoe/routing/switch_router.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe {
namespace {

template <typename Method>
std::shared_ptr<Router> make(const RouterOptions& options) {
  return std::make_shared<Method>(options);
}

/// One line per method. A table rather than self-registering objects, which a linker drops from
/// static libraries.
std::map<std::string, RouterFactory>& table() {
  static std::map<std::string, RouterFactory> methods = {
      {"dense", make<DenseRouter>},   {"dts", make<DtsRouter>},   {"gshard", make<GshardRouter>},
      {"switch", make<SwitchRouter>}, {"topk", make<TopkRouter>},
  };
  return methods;
}

/// Levenshtein's distance: insertions, deletions and replacements of one letter.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::shared_ptr<Router> make_router(const RouterOptions& options) {
  const auto found = table().find(options.method);
  if (found != table().end()) return found->second(options);
  const auto names = router_names();
  const auto nearest = *std::min_element(
      names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
        return edit_distance(a, options.method) < edit_distance(b, options.method);
      });
  fail_usage("--moe-router {}: unknown method; allowed are {} (did you mean {}?)", options.method,
             fmt::join(names, ", "), nearest);
}

void register_router(const std::string& name, RouterFactory factory) {
  EVOMOE_CHECK(!name.empty() && factory, "a routing method needs a name and a factory");
  const bool added = table().emplace(name, std::move(factory)).second;
  EVOMOE_CHECK(added, "the routing method `{}` exists already: choose another name", name);
}

std::vector<std::string> router_names() {
  std::vector<std::string> names;
  for (const auto& [name, factory] : table()) names.push_back(name);
  return names;
}

}  // namespace evomoe
