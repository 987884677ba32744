#pragma once

#include <utility>

#include "evomoe/config/option_table.h"
#include "evomoe/routing/router.h"

/// Options of the method's own: the program's flags --cosine-temperature and --cosine-margin.
struct CosineOptions {
  double temperature = 0.1;
  double margin = 0.05;

  void describe(evomoe::OptionTable& table) {
    table.add("cosine-temperature", &temperature, "cosine: divides the cosines.")
        .above(0)
        .shapes_model();
    table
        .add("cosine-margin", &margin,
             "cosine: a token also uses the experts whose cosine is at most this below the best.")
        .at_least(0);
  }
};

/// Cosine routing (after X-MoE, arXiv 2204.09179): a token goes to the expert whose gate vector
/// points most nearly in its direction, and to those that are hardly worse. So it has a number of
/// experts of its own.
class CosineRouter : public evomoe::Router {
 public:
  CosineRouter(evomoe::RouterShape shape, CosineOptions options)
      : Router(std::move(shape)), options_(options) {}

  evomoe::Routing route(const torch::Tensor& x_TD, const evomoe::RoutingContext& context) override {
    const auto unit = [](const torch::Tensor& rows) {
      return torch::nn::functional::normalize(rows,
                                              torch::nn::functional::NormalizeFuncOptions().dim(1));
    };
    const auto cosine_TE = unit(x_TD).mm(unit(gate_weight_).t());
    const auto logits_TE = cosine_TE / options_.temperature;
    const auto probability_TE = torch::softmax(logits_TE, 1);

    // Who is used is a constant; the weights are the path of gradient to the gate.
    const auto best_T1 = cosine_TE.amax(1, /*keepdim=*/true);
    auto selected_TE = (cosine_TE >= best_T1 - options_.margin).detach();
    const auto valid_T = valid_rows(context, x_TD.size(0));
    if (valid_T.defined()) selected_TE = selected_TE.logical_and(valid_T.unsqueeze(1));
    const auto weight_TE = probability_TE * selected_TE;
    const auto sum_T1 = weight_TE.sum(1, /*keepdim=*/true).clamp_min(1e-9);

    auto routing = evomoe::Routing::from_mask(selected_TE, weight_TE / sum_T1);
    routing.losses.push_back(
        balance(probability_TE, selected_TE.sum(0), x_TD.size(0), context));
    complete(routing, logits_TE, probability_TE, selected_TE, valid_T);
    return routing;
  }

 private:
  CosineOptions options_;
};
