#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "evomoe/routing/router.h"

namespace evomoe {

using RouterFactory = std::function<std::shared_ptr<Router>(const RouterOptions&)>;

/// Makes the router that options.method names. Unknown names are an error that lists the known
/// ones.
std::shared_ptr<Router> make_router(const RouterOptions& options);

/// Adds a method of another program under a new name; a name that is taken is an Error.
void register_router(const std::string& name, RouterFactory factory);

/// The registered method names, sorted.
std::vector<std::string> router_names();

}  // namespace evomoe
