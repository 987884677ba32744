#pragma once

#include "evomoe/checkpoint/safetensors.h"

/// A new run that starts from the weights of another model.
namespace evomoe {

/// Whether these are the weights of a model without MoE layers.
bool is_dense(const TensorMap& state);

/// The state that a model with the (initialised) state `own` starts with, given `other`, the
/// weights of another run. What both have comes from `other`. Beside that:
/// - upcycling: the one shared expert of an MoE layer is the dense feed-forward block that stands
///   in its place (Komatsuzaki et al., arXiv 2212.05055); the gate is `own`. Where the layer has a
///   dense block beside its experts and both together are as wide as that one, the hidden units are
///   divided: the first ones and the output's bias are the block's, so that the sum is what it was;
/// - heads of sentences that `other` does not have are `own`, those that only it has are left out.
/// Anything else that is missing or too much is for the one who loads the result to refuse.
TensorMap starting_state(const TensorMap& other, const TensorMap& own);

}  // namespace evomoe
