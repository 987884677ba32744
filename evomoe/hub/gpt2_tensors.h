#pragma once

#include <vector>

#include "evomoe/hub/hub_tensors.h"

namespace evomoe {

/// Whether GPT-2 has one table for input and output: it does not multiply embeddings, so that where
/// ours are, its table of the input is another one.
bool gpt2_ties(const GptOptions& gpt);

/// The tensors of a model of ours as GPT-2 has them: matrices transposed, queries, keys and values
/// joined, positions from its first on, sinusoids as a table.
std::vector<HubTensor> gpt2_tensors(const GptOptions& gpt, const NamedTensors& ours);

}  // namespace evomoe
