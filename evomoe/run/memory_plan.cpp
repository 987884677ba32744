#include "evomoe/run/memory_plan.h"

#include <algorithm>
#include <utility>

#include "evomoe/base/byte_size.h"
#include "evomoe/base/error.h"

namespace evomoe {
namespace {

std::vector<std::pair<const char*, int64_t>> parts(const MemoryEstimate& estimate) {
  return {{"program", estimate.program},     {"parameters", estimate.parameters},
          {"gradients", estimate.gradients}, {"moments", estimate.moments},
          {"snapshot", estimate.snapshot},   {"activations", estimate.activations},
          {"workspace", estimate.workspace}};
}

}  // namespace

std::vector<Recomputation> recomputations(Recomputation asked, bool has_experts) {
  std::vector<Recomputation> choices;
  for (const auto& more : {Recomputation{}, Recomputation{.experts = true},
                           Recomputation{.blocks = true}, Recomputation{true, true}}) {
    if (more.experts && !has_experts && !asked.experts) continue;
    if (more.experts >= asked.experts && more.blocks >= asked.blocks) choices.push_back(more);
  }
  return choices;
}

const MemoryChoice& choose_memory(const std::vector<MemoryChoice>& choices, int64_t budget) {
  const MemoryChoice* least = &choices.front();
  for (const auto& choice : choices) {
    if (choice.estimate.total() <= budget) return choice;
    if (choice.estimate.total() < least->estimate.total()) least = &choice;
  }
  const auto& need = least->estimate;
  const auto of_batch = need.activations + need.workspace;
  const bool batch_helps = need.total() - of_batch < budget;
  fail_usage(
      "--memory-budget {} is less than this run takes even when it recomputes {}: about {}. Raise "
      "it, {}or {}",
      byte_size_text(budget), recompute_text(least->recompute), memory_text(need),
      need.total() - need.moments - need.snapshot <= budget
          ? "keep moments on disk (--offload-moments FOLDER), "
          : "",
      batch_helps ? "make micro-batches smaller (--batch-size, --max-tokens, --tokens-per-sample; "
                    "--update-freq keeps the size of an update)"
                  : "make the model smaller (--decoder-layers, --decoder-embed-dim, "
                    "--decoder-ffn-embed-dim, or those of --encoder-..., --moe-expert-count)");
}

std::string recompute_text(Recomputation recompute) {
  const std::string experts = "the experts' pre-activations (--recompute-experts)";
  const std::string blocks = "the layers (--checkpoint-activations)";
  if (recompute.experts && recompute.blocks) return blocks + " and " + experts;
  if (recompute.experts) return experts;
  return recompute.blocks ? blocks : "nothing";
}

std::string choice_text(const std::vector<MemoryChoice>& choices, const MemoryChoice& chosen,
                        int64_t budget) {
  std::string why;
  for (const auto& choice : choices) {
    if (&choice == &chosen) break;
    why += fmt::format("{}{} with {}", why.empty() ? ", since it would take " : ", ",
                       byte_size_text(choice.estimate.total()),
                       choice.recompute == Recomputation{}
                           ? std::string("nothing recomputed")
                           : recompute_text(choice.recompute) + " recomputed");
  }
  return fmt::format("--memory-budget {}: recomputes {}{}", byte_size_text(budget),
                     recompute_text(chosen.recompute), why);
}

std::string memory_text(const MemoryEstimate& estimate) {
  std::string text;
  for (const auto& [name, bytes] : parts(estimate)) {
    if (bytes == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, byte_size_text(bytes));
  }
  return fmt::format("{} ({})", byte_size_text(estimate.total()), text);
}

nlohmann::ordered_json memory_json(const MemoryEstimate& estimate) {
  nlohmann::ordered_json json;
  for (const auto& [name, bytes] : parts(estimate)) json[name] = bytes;
  json["total"] = estimate.total();
  return json;
}

}  // namespace evomoe
