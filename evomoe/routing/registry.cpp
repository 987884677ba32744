#include "evomoe/routing/registry.h"

#include <fmt/ranges.h>

#include <map>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/base/nearest_name.h"
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

}  // namespace

std::shared_ptr<Router> make_router(const RouterOptions& options) {
  const auto found = table().find(options.method);
  if (found != table().end()) return found->second(options);
  const auto names = router_names();
  const auto nearest = nearest_name(options.method, names);
  fail_usage("--moe-router {}: unknown method; allowed are {}{}", options.method,
             fmt::join(names, ", "),
             nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest));
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
