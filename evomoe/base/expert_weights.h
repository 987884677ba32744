#pragma once

#include <cstdint>

namespace evomoe {

/// One T for each weight of a layer's feed-forward experts, which are stacked. An expert is
///   y = act(x w1^T + b1) w2^T + b2,
/// and a gated one (Shazeer, arXiv 2002.05202; of Mixtral w1 gate_proj, w3 up_proj, w2 down_proj)
///   y = (act(x w1^T + b1) * (x w3^T)) w2^T + b2.
/// T is what is held of a weight: a tensor (ops/expert_weights.h), a pointer to its numbers, its
/// name. Of a weight that the experts do not have it is T(). This file alone lists the weights.
template <typename T>
struct ExpertWeightsOf {
  T w1_EHD = {};  ///< [E,H,D]
  T b1_EH = {};   ///< [E,H]; experts may be without it
  T w2_EDH = {};  ///< [E,D,H]
  T b2_ED = {};   ///< [E,D]; experts may be without it
  T w3_EHD = {};  ///< [E,H,D], of gated experts
};

/// f(weight of the first, weight of the second, ...) for each weight, in the order of the list.
template <typename F, typename... Weights>
void for_each_weight(const F& f, Weights&&... of) {
  f(of.w1_EHD...);
  f(of.b1_EH...);
  f(of.w2_EDH...);
  f(of.b2_ED...);
  f(of.w3_EHD...);
}

/// Of the parameters, as in checkpoints.
inline constexpr ExpertWeightsOf<const char*> kExpertWeightNames = {"w1", "b1", "w2", "b2", "w3"};

/// Keys of counter-based noise, so that a weight's numbers depend on no other weight. 4 keys what
/// is no weight of an expert: the gate's initial values, and the hidden units that are drawn anew.
inline constexpr ExpertWeightsOf<uint32_t> kExpertWeightKeys = {0, 1, 2, 3, 5};
inline constexpr uint32_t kKeyBesideExpertWeights = 4;

}  // namespace evomoe
