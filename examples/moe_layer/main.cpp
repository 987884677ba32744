// A mixture-of-experts layer in a LibTorch model of your own (docs/library.md).
#include <cstdio>
#include <utility>

#include "evomoe/moe/moe_layer.h"

struct Model : torch::nn::Module {
  Model() {
    evomoe::MoELayerOptions options;
    options.router.method = "topk";  // two experts a token; docs/routing.md has all methods
    options.router.model_dim = 32;
    options.router.num_experts = 8;
    options.hidden_dim = 64;
    moe = register_module("moe", evomoe::MoELayer(options));
  }

  std::pair<torch::Tensor, torch::Tensor> forward(const torch::Tensor& x_BSD, uint32_t update) {
    evomoe::RoutingContext context;  // of training; noise is a function of seed, update and place
    context.noise.update = update;
    auto output = moe(in(x_BSD), context);
    auto router_loss = torch::zeros({});
    for (const auto& loss : output.losses) router_loss = router_loss + 0.01 * loss.value;
    return {out(output.y_BSD), router_loss};
  }

  torch::nn::Linear in = register_module("in", torch::nn::Linear(16, 32));
  evomoe::MoELayer moe{nullptr};
  torch::nn::Linear out = register_module("out", torch::nn::Linear(32, 1));
};

int main() {
  torch::manual_seed(1);
  Model model;
  torch::optim::Adam adam(model.parameters(), torch::optim::AdamOptions(3e-3));
  const auto x_BSD = torch::randn({8, 32, 16});
  const auto target_BS1 = (3 * x_BSD).sin().mean(2, /*keepdim=*/true) * 4;
  double first = 0, last = 0;
  for (uint32_t step = 0; step < 100; ++step) {
    const auto [y_BS1, router_loss] = model.forward(x_BSD, step);
    const auto loss = torch::mse_loss(y_BS1, target_BS1);
    adam.zero_grad();
    (loss + router_loss).backward();
    adam.step();
    last = loss.item<double>();
    if (step == 0) first = last;
    if (step % 20 == 0 || step == 99) std::printf("step %3u  loss %.4f\n", step, last);
  }
  return last < first / 2 ? 0 : 1;
}
