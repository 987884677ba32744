#include "evomoe/generate/text_generator.h"

#include <algorithm>
#include <limits>

#include "evomoe/base/error.h"
#include "evomoe/base/philox.h"
#include "evomoe/generate/token_candidates.h"

namespace evomoe {
namespace {

double uniform(uint64_t seed, uint32_t stream, int64_t step) {
  NoiseKey key;
  key.seed = seed;
  key.site = NoiseSite::kTokenSampling;
  key.first_sequence = stream;
  return unit_open(philox_row_block(key, philox_key(key), static_cast<uint64_t>(step), 0)[0]);
}

int64_t half_of(int64_t positions) { return std::max<int64_t>(positions / 2, 1); }

}  // namespace

int64_t prompt_window(int64_t prompt_tokens, int64_t positions) {
  return prompt_tokens > positions ? half_of(positions) : prompt_tokens;
}

void GenerationOptions::validate() const {
  if (max_new_tokens < 1) fail_usage("--max-len {}: it must be at least 1", max_new_tokens);
  if (temperature <= 0)
    fail_usage(
        "--temperature {}: it must be above 0; for the most probable token leave --sampling away",
        temperature);
  if (top_k < 0)
    fail_usage("--sampling-topk {}: it must be at least 1, or left away for all tokens", top_k);
  if (top_p < 0 || top_p > 1) fail_usage("--sampling-topp {}: it must be in (0, 1]", top_p);
}

int64_t choose_token(const torch::Tensor& log_probability_V, const GenerationOptions& options,
                     double u) {
  const auto x_1V = log_probability_V.unsqueeze(0).to(torch::kCPU, torch::kFloat);
  EVOMOE_CHECK(!x_1V.isnan().any().item<bool>(),
               "a log-probability is not a number: weights hold values that are not finite, or "
               "activations overflow");
  if (options.sample)
    return sampled_token(tempered(x_1V, options.temperature)[0], options.top_k, options.top_p, u)
        .token;
  const auto best = best_tokens(x_1V, 1).front();
  return best.empty() ? -1 : best.front().token;
}

std::vector<int64_t> generate(Gpt& model, const std::vector<int64_t>& prompt,
                              const GenerationOptions& options, uint32_t stream) {
  options.validate();
  EVOMOE_CHECK(!prompt.empty(),
               "a text cannot be continued from nothing: the prompt needs at least one token");
  const torch::NoGradGuard no_grad;
  const auto device = model->parameters().front().device();
  const auto positions = model->options().max_positions;
  KeyValueCache cache;
  ForwardContext context;
  context.cache = &cache;
  std::vector<int64_t> all = prompt, next = prompt;
  const auto shorten = [&] {
    // The window is full: start over from the second half of what it held.
    cache = KeyValueCache();
    next.assign(all.end() - half_of(positions), all.end());
  };
  next.erase(next.begin(),
             next.end() - prompt_window(static_cast<int64_t>(next.size()), positions));
  std::vector<int64_t> made;
  while (static_cast<int64_t>(made.size()) < options.max_new_tokens) {
    if (cache.length + static_cast<int64_t>(next.size()) > positions) shorten();
    const auto token_BS = torch::tensor(next, torch::kLong).unsqueeze(0).to(device);
    const auto output = model->forward(token_BS, context);
    auto log_probability_V = model->log_probability(output.x_BSD[0].slice(0, -1)).squeeze(0);
    const auto forbid = [&](int64_t token) {
      log_probability_V[token] = -std::numeric_limits<float>::infinity();
    };
    for (const auto token : options.never) forbid(token);
    const auto step = static_cast<int64_t>(made.size());
    if (options.end_token >= 0 && step < options.min_new_tokens) forbid(options.end_token);
    const auto token =
        choose_token(log_probability_V, options, uniform(options.seed, stream, step));
    EVOMOE_CHECK(token >= 0, "no token has a probability that may come behind token {}", step);
    if (options.end_token >= 0 && token == options.end_token) break;
    made.push_back(token);
    all.push_back(token);
    next = {token};
  }
  return made;
}

}  // namespace evomoe
