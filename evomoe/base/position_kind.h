#pragma once

namespace evomoe {

/// How a model knows the order of its tokens.
enum class PositionKind {
  kNone,        ///< not at all, but for a causal mask
  kLearned,     ///< a table that is trained is added to the embeddings
  kSinusoidal,  ///< a constant table is added (Vaswani et al. 2017, section 3.5)
  kRotary,      ///< queries and keys are turned (RoFormer, arXiv 2104.09864)
};

}  // namespace evomoe
