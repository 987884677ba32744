#include "evomoe/fairseq/expert_stacks.h"

#include <fmt/ranges.h>

#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/fairseq/fairseq_names.h"

namespace evomoe {

void sort_experts(const TensorMap& from, int64_t first_expert, TensorMap& plain,
                  ExpertStacks& stacks) {
  for (const auto& [name, tensor] : from) {
    std::smatch match;
    if (!is_expert(name, match)) {
      plain[name] = tensor;
      continue;
    }
    const auto theirs = match[3].str() + "." + match[4].str();
    std::string ours;
    for_each_weight(
        [&](const char* our_name, const char* their_name) {
          if (their_name != nullptr && theirs == their_name)
            ours = match[1].str() + "." + our_name + match[5].str();
        },
        kExpertWeightNames, kFairseqWeightNames);
    stacks[ours][first_expert + std::stoll(match[2])] = tensor;
  }
}

void stack_experts(const ExpertStacks& stacks, const std::string& file, TensorMap& into) {
  for (const auto& [name, experts] : stacks) {
    EVOMOE_CHECK(experts.rbegin()->first == static_cast<int64_t>(experts.size()) - 1,
                 "{}: '{}' has {} experts, and the last one is number {}; some are missing", file,
                 name, experts.size(), experts.rbegin()->first);
    std::vector<torch::Tensor> tensors;
    for (const auto& [index, tensor] : experts) {
      EVOMOE_CHECK(tensors.empty() || tensor.sizes() == tensors[0].sizes(),
                   "{}: expert {} of '{}' has shape [{}], and expert 0 [{}]", file, index, name,
                   fmt::join(tensor.sizes(), ", "), fmt::join(tensors[0].sizes(), ", "));
      tensors.push_back(tensor);
    }
    if (name.ends_with(".step")) {
      for (const auto& step : tensors) {
        EVOMOE_CHECK(step.equal(tensors[0]),
                     "{}: the experts of '{}' had different numbers of updates, but here they "
                     "share one",
                     file, name);
      }
      into[name] = tensors[0];
    } else {
      into[name] = torch::stack(tensors);
    }
  }
}

}  // namespace evomoe
