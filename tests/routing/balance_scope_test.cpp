// Whose loads the balance loss is of: tests/golden/routing_methods.json, case global_lb.
#include <gtest/gtest.h>

#include "evomoe/parallel/communicator.h"
#include "evomoe/routing/topk_router.h"
#include "tests/routing/golden_case.h"
#include "tests/testing/paths.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

using nlohmann::json;
using Ranks = std::shared_ptr<Communicator>;

struct ScopeCase {
  json expect;
  std::vector<json> inputs;  ///< of two micro-batches
};

ScopeCase read_scope_case() {
  const auto file = json::parse(testing::read_text(testing::golden_dir() / "routing_methods.json"));
  for (const auto& entry : file.at("cases")) {
    if (entry.at("id") != "global_lb") continue;
    const auto& inputs = file.at("inputs");
    return {entry.at("expect"), {inputs.at("r1"), inputs.at("r2")}};
  }
  ADD_FAILURE() << "there is no case global_lb";
  return {};
}

std::shared_ptr<Router> scoped_router(const std::string& scope) {
  RouterOptions options;
  options.method = "topk";
  options.get<TopkOptions>().k = 2;
  options.get<CapacityOptions>().train_factor = 0;
  options.balance_scope = scope;
  return testing::logits_router(options, /*num_experts=*/8, torch::kFloat64);
}

struct Balanced {
  double loss = 0;
  torch::Tensor grad_TE;  ///< of half the loss: the file has the mean over both
};

/// `twice`: routed again, as when activations are recomputed.
Balanced route(Router& router, const json& input, uint32_t micro_batch, Communicator& ranks,
               bool twice = false, bool stands_in = false) {
  auto logits_TE = testing::json_matrix(input.at("logits")).requires_grad_();
  RoutingContext context;
  context.communicator = &ranks;
  context.stands_in = stands_in;
  context.noise.update = 3;
  context.noise.first_sequence = micro_batch;
  if (twice) router.route(logits_TE, context);
  const auto loss = testing::loss_named(router.route(logits_TE, context), "balance");
  return {loss.item<double>(), torch::autograd::grad({loss / 2}, {logits_TE})[0]};
}

void expect_balanced(const Balanced& found, const json& expect, int micro_batch) {
  EXPECT_NEAR(found.loss, expect.at("per_micro_batch").at(micro_batch).get<double>(), 1e-8);
  const auto grad =
      testing::json_matrix(expect.at(micro_batch == 0 ? "grad_first" : "grad_second"));
  EXPECT_LT(testing::deviation(found.grad_TE, grad), 1e-8);
}

TEST(BalanceScope, TheMicroBatchesOfAnUpdateCountSoFar) {
  const auto test = read_scope_case();
  SelfCommunicator one;
  for (const auto& [scope, expected] :
       {std::pair("micro-batch", "micro"), {"rank", "running"}, {"update", "running"}}) {
    SCOPED_TRACE(scope);
    const auto router = scoped_router(scope);
    for (int update = 0; update < 2; ++update) {
      router->begin_update();
      for (int m = 0; m < 2; ++m)
        expect_balanced(route(*router, test.inputs[m], 8 * m, one, /*twice=*/true),
                        test.expect.at(expected), m);
    }
  }
}

TEST(BalanceScope, OfAnUpdateItIsThatOfAllRanks) {
  EVOMOE_NEEDS_RANKS();
  const auto test = read_scope_case();
  const auto found = testing::on_ranks(2, [&](const Ranks& ranks) {
    const auto router = scoped_router("update");
    return route(*router, test.inputs[ranks->rank()], 8 * ranks->rank(), *ranks);
  });
  for (int m = 0; m < 2; ++m) expect_balanced(found[m], test.expect.at("global_"), m);
  // A rank that stands in does not count.
  const auto alone = testing::on_ranks(2, [&](const Ranks& ranks) {
    const auto router = scoped_router("update");
    return route(*router, test.inputs[0], 0, *ranks, false, /*stands_in=*/ranks->rank() == 1);
  });
  EXPECT_NEAR(alone[0].loss, test.expect.at("micro").at("per_micro_batch")[0].get<double>(), 1e-8);
}

TEST(CapacityScope, TheQueueOfAllRanksDropsWhatOneWithAllTokensDrops) {
  EVOMOE_NEEDS_RANKS();
  const auto test = read_scope_case();
  const auto logits = torch::cat({testing::json_matrix(test.inputs[0].at("logits")),
                                  testing::json_matrix(test.inputs[1].at("logits"))});
  const auto rows = logits.size(0), half = rows / 2;
  for (const auto* method : {"switch", "gshard", "topk"}) {
    for (const auto* policy : {"position", "probs"}) {
      SCOPED_TRACE(std::string(method) + " " + policy);
      RouterOptions options;
      options.method = method;
      options.get<CapacityOptions>().train_factor = 0.6;
      const auto limit = [&](Router& router, int64_t of_rows) {
        return router.capacity(of_rows, /*training=*/true).value();
      };
      const auto make = [&] { return testing::logits_router(options, 8, torch::kFloat64); };
      auto whole = make();
      RoutingContext context;
      context.uniform_T = torch::zeros({rows}, torch::kFloat64);
      context.noise.sequence_length = static_cast<uint32_t>(half);
      const auto expected =
          apply_capacity(whole->route(logits, context), limit(*whole, rows), policy).dense(rows);
      const auto found = testing::on_ranks(3, [&](const Ranks& ranks) {
        auto router = make();
        const bool takes_part = ranks->rank() < 2;
        RoutingContext own;
        own.uniform_T = torch::zeros({half}, torch::kFloat64);
        own.noise.sequence_length = static_cast<uint32_t>(half);
        own.noise.first_sequence = takes_part ? static_cast<uint32_t>(ranks->rank()) : 0;
        const auto first = takes_part ? half * ranks->rank() : 0;
        auto routing = router->route(logits.slice(0, first, first + half), own);
        return apply_capacity_of_ranks(
                   std::move(routing), half,
                   [&](int64_t of_rows) { return std::optional(limit(*router, of_rows)); }, policy,
                   {}, takes_part, *ranks)
            .dense(half);
      });
      EXPECT_TRUE(torch::allclose(torch::cat({found[0], found[1]}), expected, 1e-9, 1e-12));
      EXPECT_LT(expected.count_nonzero().item<int64_t>(),
                rows * (method == std::string("switch") ? 1 : 2));
    }
  }
}

}  // namespace
}  // namespace evomoe
