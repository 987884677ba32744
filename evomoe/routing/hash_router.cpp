// Hash layers, arXiv 2106.04426.
#include "evomoe/routing/hash_router.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/router_stats.h"
#include "evomoe/routing/selection.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {

void HashOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("hash-kind", &kind,
           "hash: words get their experts at random, or so that these get as many words of text as "
           "each other.")
      .choices({"random", "balanced"})
      .shapes_model();
  table.add("hash-seed", &seed, "hash: seed of the random kind.")
      .range(0, 4294967295)
      .shapes_model();
  table
      .add("hash-counts", &counts,
           "hash: a dict.txt with the counts of the words, for --hash-kind balanced; that of the "
           "data.")
      .metavar("FILE");
}

void HashOptions::validate() const {
  if (kind == "balanced" && counts.empty()) {
    fail_usage(
        "--hash-kind balanced needs --hash-counts: the dict.txt of the data, with its counts");
  }
  if (kind != "balanced" && !counts.empty()) {
    fail_usage("--hash-counts {} is for --hash-kind balanced; leave it out, or give that too",
               counts);
  }
}

torch::Tensor random_hash(int64_t vocab_size, int64_t num_experts, int64_t seed) {
  const auto table_V = torch::empty({vocab_size}, torch::kInt64);
  auto* expert = table_V.data_ptr<int64_t>();
  for (int64_t id = 0; id < vocab_size; ++id) {
    const auto hash = splitmix64((static_cast<uint64_t>(seed) << 32) ^ static_cast<uint64_t>(id));
    expert[id] = static_cast<int64_t>(hash % static_cast<uint64_t>(num_experts));
  }
  return table_V;
}

torch::Tensor balanced_hash(const std::vector<int64_t>& count_V, int64_t num_experts) {
  std::vector<size_t> order(count_V.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return count_V[a] > count_V[b]; });
  const auto table_V = torch::empty({static_cast<int64_t>(count_V.size())}, torch::kInt64);
  auto* expert = table_V.data_ptr<int64_t>();
  std::vector<int64_t> load_E(static_cast<size_t>(num_experts));
  for (const auto id : order) {
    const auto least = std::ranges::min_element(load_E);
    expert[id] = least - load_E.begin();
    *least += count_V[id];
  }
  return table_V;
}

HashRouter::HashRouter(RouterShape shape, HashOptions options)
    : Router(std::move(shape)), options_(std::move(options)) {
  add_buffer(table_V_, "table", random_hash(shape_.vocab_size, num_experts(), options_.seed));
}

void HashRouter::initialise(uint64_t seed, int64_t layer) {
  Router::initialise(seed, layer);
  if (options_.kind == "random") {
    table_V_.copy_(random_hash(shape_.vocab_size, num_experts(), options_.seed + layer));
    return;
  }
  const auto dictionary = Dictionary::load(options_.counts);
  std::vector<int64_t> count_V(static_cast<size_t>(shape_.vocab_size));
  EVOMOE_CHECK(dictionary.size() <= shape_.vocab_size,
               "--hash-counts {} has {} words and the model {}: give the dict.txt of the data",
               options_.counts, dictionary.size(), shape_.vocab_size);
  for (int64_t id = 0; id < dictionary.size(); ++id)
    count_V[static_cast<size_t>(id)] = dictionary.count(id);
  table_V_.copy_(balanced_hash(count_V, num_experts()));
}

Routing HashRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto T = x_TD.size(0);
  EVOMOE_CHECK(context.token_id_T.defined() && context.token_id_T.numel() == T,
               "router `hash` needs the token id of each of the {} rows", T);
  const auto type = torch::promote_types(x_TD.scalar_type(), torch::kFloat32);
  const auto options = x_TD.options().dtype(type).requires_grad(false);
  const auto id_T = context.token_id_T.to(table_V_.device());
  EVOMOE_CHECK(T == 0 || id_T.max().item<int64_t>() < table_V_.size(0),
               "router `hash` has a table of {} words, and a token has the id {}", table_V_.size(0),
               id_T.max().item<int64_t>());
  auto expert_T = table_V_.index_select(0, id_T).to(torch::kInt64);
  auto selected_TE = selection_mask(expert_T.unsqueeze(1), num_experts());
  const auto routed_T = routed_rows(context, T);
  selected_TE = only_rows(selected_TE, routed_T);
  if (routed_T.defined()) expert_T = expert_T.masked_fill(routed_T.logical_not(), -1);
  auto routing = Routing::from_choices(expert_T, torch::ones({T}, options), num_experts());
  routing.losses.push_back(no_balance_loss(torch::empty({0}, options)));
  // There is no gate, so that nothing is more probable than what was chosen.
  record_stats(routing, selected_TE, selected_TE.to(type), valid_rows(context, T));
  return routing;
}

}  // namespace evomoe
