#pragma once

#include <string>

namespace evomoe::bench {

/// Registers, once, a router whose choice is replaced by equal loads (token t goes to the experts
/// t, t + E/k, ... modulo E) and returns its name. The gate, its softmax and its gradient are
/// computed as ever, and the chosen experts' probabilities are the weights: what is left is the
/// time of a layer whose router balances perfectly, an upper bound of a real one's speed.
std::string balanced_router();

}  // namespace evomoe::bench
