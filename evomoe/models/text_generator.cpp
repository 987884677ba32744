#include "evomoe/models/text_generator.h"

#include <limits>

#include "evomoe/base/error.h"
#include "evomoe/base/philox.h"

namespace evomoe {
namespace {

double uniform(uint64_t seed, uint32_t stream, int64_t step) {
  NoiseKey key;
  key.seed = seed;
  key.site = NoiseSite::kTokenSampling;
  key.first_sequence = stream;
  return unit_open(philox_row_block(key, philox_key(key), static_cast<uint64_t>(step), 0)[0]);
}

}  // namespace

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

int64_t choose_token(const torch::Tensor& logit_V, const GenerationOptions& options, double u) {
  if (!options.sample) return logit_V.argmax().item<int64_t>();
  auto [probability_V, token_V] =
      torch::softmax(logit_V.to(torch::kDouble) / options.temperature, 0)
          .sort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
  auto kept = probability_V.size(0);
  if (options.top_k > 0) kept = std::min(kept, options.top_k);
  probability_V = probability_V.slice(0, 0, kept);
  auto mass_V = probability_V.cumsum(0);
  if (options.top_p > 0) {
    // The smallest set whose mass reaches p: tokens before which the mass is still below p.
    kept = (mass_V - probability_V).lt(options.top_p).sum().item<int64_t>();
    kept = std::max<int64_t>(kept, 1);
    mass_V = mass_V.slice(0, 0, kept);
  }
  const double total = mass_V[-1].item<double>();
  const auto index = mass_V.le(u * total).sum().item<int64_t>();
  return token_V[std::min(index, kept - 1)].item<int64_t>();
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
    const auto keep = std::max<int64_t>(positions / 2, 1);
    next.assign(all.end() - std::min<int64_t>(keep, static_cast<int64_t>(all.size())), all.end());
  };
  if (static_cast<int64_t>(next.size()) > positions) shorten();
  std::vector<int64_t> made;
  while (static_cast<int64_t>(made.size()) < options.max_new_tokens) {
    if (cache.length + static_cast<int64_t>(next.size()) > positions) shorten();
    const auto token_BS = torch::tensor(next, torch::kLong).unsqueeze(0).to(device);
    const auto output = model->forward(token_BS, context);
    // A softmax of log-probabilities is that of the logits.
    auto logit_V = model->log_probability(output.x_BSD[0].slice(0, -1)).squeeze(0);
    const auto forbid = [&](int64_t token) {
      logit_V[token] = -std::numeric_limits<float>::infinity();
    };
    for (const auto token : options.never) forbid(token);
    const auto step = static_cast<int64_t>(made.size());
    if (options.end_token >= 0 && step < options.min_new_tokens) forbid(options.end_token);
    const auto token = choose_token(logit_V, options, uniform(options.seed, stream, step));
    if (options.end_token >= 0 && token == options.end_token) break;
    made.push_back(token);
    all.push_back(token);
    next = {token};
  }
  return made;
}

}  // namespace evomoe
