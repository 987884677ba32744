// A mixture-of-experts layer in a program of your own (docs/library.md). It learns four functions,
// one for each kind of token, with a dense-to-sparse gate: every token begins with all experts and
// ends with one.
#include <cmath>
#include <cstdio>

#include "evomoe/moe/moe_layer.h"

int main() {
  constexpr int64_t kBatch = 8, kSequence = 32, kDim = 16, kExperts = 4, kSteps = 300;

  evomoe::MoELayerOptions options;
  options.router.method = "dts";  // docs/routing.md has them all
  options.router.model_dim = kDim;
  options.router.num_experts = kExperts;
  options.hidden_dim = 32;
  options.initial_seed = 1;  // of all parameters
  evomoe::MoELayer layer(options);
  torch::optim::Adam adam(layer->parameters(), torch::optim::AdamOptions(1e-2));

  // A token's kind is written in its first components; each kind has a matrix of its own.
  torch::manual_seed(1);
  const auto kind_BS = torch::randint(kExperts, {kBatch, kSequence}, torch::kInt64);
  const auto x_BSD =
      torch::randn({kBatch, kSequence, kDim}) + 3 * torch::one_hot(kind_BS, kDim).to(torch::kFloat);
  const auto matrix_KDD = torch::randn({kExperts, kDim, kDim}) / std::sqrt(double{kDim});
  const auto target_BSD =
      torch::matmul(matrix_KDD.index({kind_BS}), x_BSD.unsqueeze(-1)).squeeze(-1);

  evomoe::SelfCommunicator communicator;  // one process
  double first = 0, last = 0;
  for (int64_t step = 0; step < kSteps; ++step) {
    // Noise is a function of seed, update and place: the same run gives the same numbers.
    evomoe::RoutingContext context;
    context.communicator = &communicator;
    context.noise.update = static_cast<uint32_t>(step);
    context.noise.sequence_length = kSequence;
    const double temperature = std::max(0.1, 2.0 * std::exp(-step / 60.0));
    context.schedule = {.temperature = temperature, .hard = step >= 200};

    const auto output = layer->forward(x_BSD, context);
    auto loss = torch::mse_loss(output.y_BSD, target_BSD);
    last = loss.item<double>();
    if (step == 0) first = last;
    for (const auto& router_loss : output.losses) loss = loss + 0.01 * router_loss.value;
    adam.zero_grad();
    loss.backward();
    adam.step();
    if (step % 50 == 0 || step == kSteps - 1) {
      std::printf("step %3d  loss %.4f  experts per token %.2f\n", static_cast<int>(step), last,
                  static_cast<double>(output.stats.assignments) / (kBatch * kSequence));
    }
  }
  return last < first / 2 ? 0 : 1;
}
