#pragma once

#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/capacity.h"
#include "evomoe/routing/router.h"

namespace evomoe {

/// Options of the method's own.
struct WordOptions {
  int64_t offset = 0;        ///< added to a word's number
  double temperature = 1.0;  ///< of the sigmoid

  void describe(OptionTable& table) {
    table.add("word-offset", &offset, "word: added to a word's number.").at_least(0).shapes_model();
    table.add("word-temperature", &temperature, "word: divides the logit.").above(0);
  }
};

/// Every occurrence of a word goes to the same expert (after Hash Layers, arXiv 2106.04426),
/// weighted by the sigmoid of that expert's logit.
class WordRouter : public Router {
 public:
  // The shape, and the option structs that its line in the registry names.
  WordRouter(RouterShape shape, CapacityOptions capacity, WordOptions options)
      : Router(std::move(shape)), capacity_(std::move(capacity)), options_(options) {}

  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override {
    EVOMOE_CHECK(context.token_id_T.defined(), "router `word` needs the token ids");
    const auto T = x_TD.size(0), E = num_experts();
    const auto logits_TE = logits(x_TD);
    const auto expert_T1 = (context.token_id_T + options_.offset).remainder(E).unsqueeze(1);
    const auto weight_TE = torch::sigmoid(logits_TE / options_.temperature);
    const auto weight_T = weight_TE.gather(1, expert_T1).squeeze(1);

    // Padding takes no place where it need not; a negative choice is none.
    auto choice_T = expert_T1.squeeze(1);
    if (const auto routed_T = routed_rows(context, T); routed_T.defined()) {
      choice_T = choice_T.masked_fill(routed_T.logical_not(), -1);
    }
    auto routing = Routing::from_choices(choice_T, weight_T, E);

    // Statistics and, where it is asked for, the z-loss. A loss of its own would be
    // routing.losses.push_back({"balance", value}).
    const auto selected_TE = choice_T.unsqueeze(1) == torch::arange(E, choice_T.options());
    complete(routing, logits_TE, torch::softmax(logits_TE, 1), selected_TE, valid_rows(context, T));
    return routing;
  }

  // Without this a method is dropless. The layer drops what exceeds it.
  std::optional<int64_t> capacity(int64_t num_rows, bool training) const override {
    if (!training || capacity_.train_factor <= 0) return std::nullopt;
    return static_cast<int64_t>(std::ceil(capacity_.train_factor * static_cast<double>(num_rows) /
                                          static_cast<double>(num_experts())));
  }
  // Evaluation drops nothing here.
  std::vector<std::string> unused_options() const override {
    return {"moe-eval-capacity-token-fraction"};
  }

 private:
  CapacityOptions capacity_;
  WordOptions options_;
};

}  // namespace evomoe
