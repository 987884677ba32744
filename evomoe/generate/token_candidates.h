#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace evomoe {

/// A token that may come next, and its log-probability.
struct TokenCandidate {
  int64_t token = 0;
  float log_probability = 0;
};

/// Log-probabilities [N,V] divided by `temperature` and normalised again.
torch::Tensor tempered(const torch::Tensor& log_probability_NV, double temperature);

/// The `count` most probable tokens of each row of [N,V], best first, ties by the lower token;
/// without those that have no probability. On a GPU ties at the last place may fall otherwise.
std::vector<std::vector<TokenCandidate>> best_tokens(const torch::Tensor& log_probability_NV,
                                                     int64_t count);

/// The token of a row [V] (on the CPU) at which `u` in (0,1) lies in the distribution that is left
/// when it is cut to the `top_k` most probable tokens (0: all), and these to the fewest that have
/// the share `top_p` of their probability (0: all): both hold, as in transformers. Its
/// log-probability is that before cutting. A row without any probability: token -1.
TokenCandidate sampled_token(const torch::Tensor& log_probability_V, int64_t top_k, double top_p,
                             double u);

}  // namespace evomoe
