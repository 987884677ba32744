#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "evomoe/models/gpt.h"

namespace evomoe {

/// How many of a prompt's last tokens are read by a model of so many positions.
int64_t prompt_window(int64_t prompt_tokens, int64_t positions);

struct GenerationOptions {
  int64_t max_new_tokens = 200;
  int64_t min_new_tokens = 0;  ///< the end token is not taken before
  bool sample = false;         ///< false: the most probable token each time
  double temperature = 1.0;    ///< logits are divided by it
  int64_t top_k = 0;           ///< keep the k most probable tokens; 0: all
  double top_p = 0.0;  ///< of these, keep the fewest tokens whose probabilities reach p (Holtzman
                       ///< et al., 1904.09751); 0: all
  uint64_t seed = 1;
  int64_t end_token = 2;       ///< stops the text; negative: never
  std::vector<int64_t> never;  ///< tokens that are never taken (padding, start of sentence)

  /// Throws UsageError naming flag, value and range.
  void validate() const;
};

/// Continues `prompt` token by token with a key-value cache, so that a token costs the same work
/// wherever it stands but for attention's reading of the cache. When the model's positions are
/// full, the text goes on from its second half; so does a prompt that is longer than they are
/// (prompt_window()). `stream` (number of this text, part of the noise
/// key) makes several samples differ. Returns the new tokens, without the end token.
std::vector<int64_t> generate(Gpt& model, const std::vector<int64_t>& prompt,
                              const GenerationOptions& options, uint32_t stream = 0);

/// The next token from log-probabilities [V], with the sampler of beam_search(); `u` in (0,1)
/// decides. -1: none has a probability. Error: one is NaN.
int64_t choose_token(const torch::Tensor& log_probability_V, const GenerationOptions& options,
                     double u);

}  // namespace evomoe
