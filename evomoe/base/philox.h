#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "evomoe/base/host_device.h"

/// Counter-based random numbers (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
/// 2011): every number is a pure function of where it is used, so results do not depend on threads,
/// ranks, micro-batches or recomputation, and no generator state needs to be saved.
namespace evomoe {

/// What a random number is used for; part of the key, so that two uses in one layer never share
/// numbers.
enum class NoiseSite : uint32_t {
  kEmbeddingDropout = 1,
  kAttentionProbabilityDropout = 2,
  kAttentionOutputDropout = 3,
  kActivationDropout = 4,
  kFeedForwardDropout = 5,
  kExpertActivationDropout = 6,
  kExpertOutputDropout = 7,
  kGateGumbel = 8,
  kSecondExpertGumbel = 9,
  kSecondExpertUniform = 10,
  kValidation = 11,  ///< makes the seed of a validation's noise from that of the run
  kInitialisation = 12,
  kDiversify = 13,
  kTokenSampling = 14,
  kCrossAttentionProbabilityDropout = 15,
  kCrossAttentionOutputDropout = 16,
  kPoolerDropout = 17,
  kPoolerHiddenDropout = 18,
  kAdaptiveSoftmaxDropout = 19,
  kAdaptiveSoftmaxTailDropout = 20,
  kRouterDirections = 21,  ///< which tokens k-means begins with
  kRouterGrowth = 22,      ///< moves the gate's rows of copied experts
};

/// Identifies one grid of random numbers of a micro-batch. The number at (token t, column c)
/// depends on the sequence the token belongs to (counted over the whole global batch), its position
/// in that sequence, and c.
struct NoiseKey {
  uint64_t seed = 1;
  uint32_t update = 0;  ///< completed updates
  uint32_t layer = 0;
  NoiseSite site = NoiseSite::kInitialisation;
  uint32_t first_sequence = 0;   ///< index in the global batch of the micro-batch's first sequence
  uint32_t sequence_length = 0;  ///< tokens per sequence in this micro-batch; 0: one long sequence

  NoiseKey at(uint32_t new_layer, NoiseSite new_site) const {
    NoiseKey key = *this;
    key.layer = new_layer;
    key.site = new_site;
    return key;
  }
};

using PhiloxBlock = std::array<uint32_t, 4>;

/// Philox4x32 with 10 rounds.
EVOMOE_HOST_DEVICE inline PhiloxBlock philox4x32(PhiloxBlock counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * counter[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// The mixing step of SplitMix64 (Steele et al., OOPSLA 2014).
EVOMOE_HOST_DEVICE inline uint64_t splitmix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

/// The two key words of Philox for a NoiseKey: seed, layer and site.
EVOMOE_HOST_DEVICE inline std::array<uint32_t, 2> philox_key(const NoiseKey& key) {
  const uint64_t place = (uint64_t{key.layer} << 32) | static_cast<uint32_t>(key.site);
  const uint64_t mixed = splitmix64(key.seed ^ splitmix64(place));
  return {static_cast<uint32_t>(mixed), static_cast<uint32_t>(mixed >> 32)};
}

/// Four numbers of a row: columns 4*block .. 4*block+3 of token `token` of the micro-batch.
EVOMOE_HOST_DEVICE inline PhiloxBlock philox_row_block(const NoiseKey& key,
                                                       std::array<uint32_t, 2> words,
                                                       uint64_t token, uint32_t block) {
  const uint64_t sequence = key.sequence_length == 0 ? 0 : token / key.sequence_length;
  const uint64_t position = key.sequence_length == 0 ? token : token % key.sequence_length;
  return philox4x32({block, static_cast<uint32_t>(position),
                     key.first_sequence + static_cast<uint32_t>(sequence), key.update},
                    words);
}

/// A uniform number strictly inside (0, 1): the middles of 2^23 equal intervals, so that log(u) and
/// log(1-u) are finite.
EVOMOE_HOST_DEVICE inline float unit_open(uint32_t bits) {
  return (static_cast<float>(bits >> 9) + 0.5F) * 0x1p-23F;
}

/// A Gumbel(0, 1) number: -log(-log(u)).
EVOMOE_HOST_DEVICE inline float gumbel(uint32_t bits) {
  return -std::log(-std::log(unit_open(bits)));
}

}  // namespace evomoe
