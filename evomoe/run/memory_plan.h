#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evomoe/train/memory_estimate.h"

namespace evomoe {

/// What the backward pass makes again instead of keeping it.
struct Recomputation {
  bool experts = false;  ///< --recompute-experts: the experts' pre-activations
  bool blocks = false;   ///< --checkpoint-activations: whole layers

  bool operator==(const Recomputation&) const = default;
};

/// `asked`, then what recomputes more, in the order of its cost in time.
std::vector<Recomputation> recomputations(Recomputation asked, bool has_experts);

struct MemoryChoice {
  Recomputation recompute;
  MemoryEstimate estimate;
};

/// The first of `choices` that takes at most `budget` bytes. UsageError with the numbers and what
/// to do when there is none.
const MemoryChoice& choose_memory(const std::vector<MemoryChoice>& choices, int64_t budget);

/// "nothing", "the experts' pre-activations (--recompute-experts)" ...
std::string recompute_text(Recomputation recompute);

/// What was chosen and why, in one line.
std::string choice_text(const std::vector<MemoryChoice>& choices, const MemoryChoice& chosen,
                        int64_t budget);

/// "2.10 GiB: program 0.20 GiB, parameters ..."; parts of 0 are left out.
std::string memory_text(const MemoryEstimate& estimate);

/// Bytes by part, and their "total".
nlohmann::ordered_json memory_json(const MemoryEstimate& estimate);

}  // namespace evomoe
