#pragma once

#include <regex>
#include <string>
#include <vector>

#include "evomoe/base/expert_weights.h"

/// What the names of the tensors in a model of fairseq tell. Their order in a file tells nothing:
/// torch loads weights by name.
namespace evomoe {

/// The names in the order in which fairseq's model lists its parameters. Its optimizer numbers them
/// so. Names without a place come last.
std::vector<std::string> in_parameter_order(std::vector<std::string> names);

/// Whether the order of parameters knows this name.
bool has_parameter_order(const std::string& name);

bool is_embedding(const std::string& name);

/// Whether a model may have an embedding again under this name.
bool may_be_embedding(const std::string& name);

/// A buffer that is made anew with the model.
bool is_derived(const std::string& name);

/// The weights of experts as fairseq names those of one expert, and of a dense block. It has no
/// gated experts.
inline constexpr ExpertWeightsOf<const char*> kFairseqWeightNames = {
    .w1_EHD = "fc1.weight", .b1_EH = "fc1.bias", .w2_EDH = "fc2.weight", .b2_ED = "fc2.bias"};

/// Whether it is the name of an expert's tensor; `match` gets its parts,
/// "(decoder.layers.1.moe_layer.experts).(0).(fc1).(weight)(.exp_avg)".
bool is_expert(const std::string& name, std::smatch& match);
bool is_expert(const std::string& name);

}  // namespace evomoe
