// A routing method of your own, with its options, in a program of your own (docs/library.md):
//   router --cosine-margin 0.2      router --moe-router topk --moe-k 3      router --help
#include <cstdio>

#include "cosine_router.h"
#include "evomoe/base/error.h"
#include "evomoe/moe/moe_layer.h"
#include "evomoe/routing/registry.h"

int main(int argc, char** argv) try {
  evomoe::register_router("cosine", evomoe::router_method<CosineRouter, CosineOptions>());

  evomoe::MoELayerOptions options;
  options.router.method = "cosine";
  options.router.model_dim = 16;
  options.router.num_experts = 8;
  options.hidden_dim = 32;
  int64_t steps = 100;
  evomoe::OptionTable table("router", "trains a layer that this program routes");
  table.add("steps", &steps, "Steps of training.").at_least(1);
  table.add("moe-router", &options.router.method, "The routing method, cosine or one of evomoe.");
  evomoe::describe_router_options(table, options.router.of_methods);
  if (!table.parse({argv + 1, argv + argc})) {
    std::fputs(table.help_text().c_str(), stdout);
    return 0;
  }

  evomoe::MoELayer layer(options);
  torch::optim::Adam adam(layer->parameters(), torch::optim::AdamOptions(1e-2));
  torch::manual_seed(1);
  const auto x_BSD = torch::randn({8, 32, 16});
  const auto target_BSD = x_BSD.abs();
  for (int64_t step = 0; step < steps; ++step) {
    evomoe::RoutingContext context;
    context.noise.update = static_cast<uint32_t>(step);
    const auto output = layer->forward(x_BSD, context);
    auto loss = torch::mse_loss(output.y_BSD, target_BSD);
    if (step % 20 == 0 || step == steps - 1) {
      std::printf("step %3d  loss %.4f  experts per token %.2f\n", static_cast<int>(step),
                  loss.item<double>(), static_cast<double>(output.stats.assignments) / (8 * 32));
    }
    for (const auto& router_loss : output.losses) loss = loss + 0.01 * router_loss.value;
    adam.zero_grad();
    loss.backward();
    adam.step();
  }
} catch (const evomoe::UsageError& error) {
  std::fprintf(stderr, "router: %s\n", error.what());
  return 2;
}
