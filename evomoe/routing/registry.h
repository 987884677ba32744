#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <typeindex>
#include <utility>
#include <vector>

#include "evomoe/routing/router.h"

namespace evomoe {

class OptionTable;

/// A struct of options that a method uses: a type, and how its value in a set describes itself.
struct RouterOptionType {
  std::type_index type;
  void (*describe)(OptionSet&, OptionTable&);

  template <typename Options>
  static RouterOptionType of() {
    return {typeid(Options),
            [](OptionSet& set, OptionTable& table) { set.get<Options>().describe(table); }};
  }
};

/// A method as the registry knows it: how a router of it is made, and the structs that it uses.
struct RouterMethod {
  std::function<std::shared_ptr<Router>(const RouterOptions&)> make;
  std::vector<RouterOptionType> options;
};

/// The method of the class Method, whose constructor takes a RouterShape and the option structs
/// Own. Each of these has `void describe(OptionTable&)`, and may have `void validate() const`,
/// which throws UsageError. Methods may share a struct.
///
///   register_router("mine", router_method<MyRouter, CapacityOptions, MyOptions>());
template <typename Method, typename... Own>
RouterMethod router_method() {
  const auto make = [](const RouterOptions& options) -> std::shared_ptr<Router> {
    const auto valid = [](const auto& own) -> const auto& {
      if constexpr (requires { own.validate(); }) own.validate();
      return own;
    };
    return std::make_shared<Method>(RouterShape(options), valid(options.get<Own>())...);
  };
  return {make, {RouterOptionType::of<Own>()...}};
}

/// Makes the router that options.method names. UsageError: an unknown name (the message lists the
/// known ones), or what options_without_effect() refuses.
std::shared_ptr<Router> make_router(const RouterOptions& options);

/// Adds a method of another program under a new name; a name that is taken is an Error. Its options
/// are in every table that is described afterwards: flags, `--help`, YAML, what a checkpoint stores
/// and what a resumed run compares.
void register_router(const std::string& name, RouterMethod method);

/// The registered method names, sorted.
std::vector<std::string> router_names();

/// Binds the options of all methods to the table, each struct once. The set must outlive it.
void describe_router_options(OptionTable& table, OptionSet& options);
/// Those that the method of this name uses, in the order of its structs. UsageError: an unknown
/// method.
void describe_method_options(OptionTable& table, OptionSet& options, const std::string& method);
/// The names of the options of all methods.
std::set<std::string> router_option_names();

/// Whether the method of this name uses the struct.
bool method_uses(const std::string& method, std::type_index options);

/// The names of the given options of methods that have no effect with this router, which was made
/// of `options`, and that the reference has. UsageError names the first one of our own, with its
/// value and the remedy. Given is what differs from its default and is not off
/// (Option::off_up_to).
std::set<std::string> options_without_effect(const RouterOptions& options, const Router& router);

}  // namespace evomoe
