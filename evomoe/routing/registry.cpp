#include "evomoe/routing/registry.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/base/nearest_name.h"
#include "evomoe/config/given_options.h"
#include "evomoe/routing/base_router.h"
#include "evomoe/routing/default_moe_router.h"
#include "evomoe/routing/dense_router.h"
#include "evomoe/routing/densemixer_router.h"
#include "evomoe/routing/dts_router.h"
#include "evomoe/routing/expert_choice_router.h"
#include "evomoe/routing/gshard_router.h"
#include "evomoe/routing/hash_router.h"
#include "evomoe/routing/longcat_router.h"
#include "evomoe/routing/moepp_router.h"
#include "evomoe/routing/quantile_router.h"
#include "evomoe/routing/relu_router.h"
#include "evomoe/routing/sigmoid_router.h"
#include "evomoe/routing/sinkhorn_router.h"
#include "evomoe/routing/sparsemixer_router.h"
#include "evomoe/routing/stablemoe_router.h"
#include "evomoe/routing/switch_router.h"
#include "evomoe/routing/topk_router.h"
#include "evomoe/routing/topp_router.h"

namespace evomoe {
namespace {

struct Entry {
  std::string name;
  RouterMethod method;
};

/// One line per method: its class and the options that it uses. A table rather than
/// self-registering objects, which a linker drops from static libraries.
std::vector<Entry>& registry() {
  static std::vector<Entry> methods = {
      {"dense", router_method<DenseRouter>()},
      {"gshard", router_method<GshardRouter, CapacityOptions, GshardOptions>()},
      {"switch", router_method<SwitchRouter, CapacityOptions, GumbelGateOptions, SwitchOptions>()},
      {"topk", router_method<TopkRouter, CapacityOptions, TopkOptions>()},
      {"dts", router_method<DtsRouter, CapacityOptions, GumbelGateOptions, DtsOptions>()},
      {"sigmoid", router_method<SigmoidRouter, TopkOptions, SigmoidOptions>()},
      {"topp", router_method<ToppRouter, ToppOptions>()},
      {"hash", router_method<HashRouter, HashOptions>()},
      {"base", router_method<BaseRouter, BaseOptions>()},
      {"sinkhorn", router_method<SinkhornRouter, TopkOptions, SinkhornOptions>()},
      {"stablemoe", router_method<StableMoeRouter, StableMoeOptions>()},
      {"relu", router_method<ReluRouter, TopkOptions, ReluOptions>()},
      {"expert-choice", router_method<ExpertChoiceRouter, ExpertChoiceOptions>()},
      {"quantile", router_method<QuantileRouter, TopkOptions, QuantileOptions>()},
      {"quantile-dynamic", router_method<QuantileDynamicRouter, TopkOptions, QuantileDynamicOptions,
                                         QuantileOptions>()},
      {"sparsemixer", router_method<SparseMixerRouter, SparseMixerOptions>()},
      {"sparsemixer2", router_method<SparseMixer2Router, SparseMixerOptions, TopkOptions>()},
      {"moepp", router_method<MoeppRouter, TopkOptions, MoeppOptions>()},
      {"longcat", router_method<LongcatRouter, TopkOptions, LongcatOptions>()},
      {"default-moe", router_method<DefaultMoeRouter, TopkOptions, DefaultMoeOptions>()},
      {"densemixer", router_method<DenseMixerRouter, TopkOptions>()},
  };
  return methods;
}

const RouterMethod* find(const std::string& name) {
  const auto found = std::ranges::find(registry(), name, &Entry::name);
  return found == registry().end() ? nullptr : &found->method;
}

const RouterMethod& find_or_fail(const std::string& name) {
  if (const auto* method = find(name)) return *method;
  const auto names = router_names();
  const auto nearest = nearest_name(name, names);
  fail_usage("--moe-router {}: unknown method; allowed are {}{}", name, fmt::join(names, ", "),
             nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest));
}

bool uses(const RouterMethod& method, std::type_index type) {
  return std::ranges::find(method.options, type, &RouterOptionType::type) != method.options.end();
}

/// Every struct that a method uses, once, in the order of the registry.
std::vector<RouterOptionType> option_types() {
  std::vector<RouterOptionType> types;
  for (const auto& [name, method] : registry()) {
    for (const auto& type : method.options) {
      if (std::ranges::find(types, type.type, &RouterOptionType::type) == types.end())
        types.push_back(type);
    }
  }
  return types;
}

void describe_types(const std::vector<RouterOptionType>& types, OptionTable& table,
                    OptionSet& options) {
  for (const auto& type : types) {
    table.group("moe");  // where a struct names no other one
    type.describe(options, table);
  }
}

}  // namespace

std::shared_ptr<Router> make_router(const RouterOptions& options) {
  auto router = find_or_fail(options.method).make(options);
  options_without_effect(options, *router);
  return router;
}

void register_router(const std::string& name, RouterMethod method) {
  EVOMOE_CHECK(!name.empty() && method.make, "a routing method needs a name and what makes it");
  EVOMOE_CHECK(find(name) == nullptr, "the routing method `{}` exists already: choose another name",
               name);
  registry().push_back({name, std::move(method)});
}

std::vector<std::string> router_names() {
  std::vector<std::string> names;
  for (const auto& [name, method] : registry()) names.push_back(name);
  std::ranges::sort(names);
  return names;
}

void describe_router_options(OptionTable& table, OptionSet& options) {
  describe_types(option_types(), table, options);
}

void describe_method_options(OptionTable& table, OptionSet& options, const std::string& method) {
  describe_types(find_or_fail(method).options, table, options);
}

std::set<std::string> router_option_names() {
  OptionSet options;
  OptionTable table("", "");
  describe_router_options(table, options);
  std::set<std::string> names;
  for (const auto& option : table.options()) names.insert(option->name());
  return names;
}

bool method_uses(const std::string& method, std::type_index options) {
  const auto* found = find(method);
  return found != nullptr && uses(*found, options);
}

std::set<std::string> options_without_effect(const RouterOptions& options, const Router& router) {
  std::set<std::string> used;
  OptionSet of_method;
  OptionTable table("", "");
  describe_method_options(table, of_method, options.method);
  for (const auto& option : table.options()) used.insert(option->name());
  for (const auto& name : router.unused_options()) used.erase(name);

  std::set<std::string> without_effect;
  for_each_given(options.of_methods, describe_router_options,
                 [&](const OptionTable& given, const Option& option) {
                   if (used.contains(option.name()) || option.is_off()) return;
                   if (!option.is_of_reference()) {
                     fail_usage(
                         "{} does nothing for --moe-router {}: leave it out, or choose a router "
                         "that uses it (docs/routing.md)",
                         given.written(option), options.method);
                   }
                   without_effect.insert(option.name());
                 });
  return without_effect;
}

}  // namespace evomoe
