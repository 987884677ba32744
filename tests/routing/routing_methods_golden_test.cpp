// Other people's routing methods in float64: tests/golden/routing_methods.json.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "evomoe/routing/base_router.h"
#include "evomoe/routing/default_moe_router.h"
#include "evomoe/routing/expert_choice_router.h"
#include "evomoe/routing/hash_router.h"
#include "evomoe/routing/longcat_router.h"
#include "evomoe/routing/moepp_router.h"
#include "evomoe/routing/quantile_router.h"
#include "evomoe/routing/relu_router.h"
#include "evomoe/routing/router_metrics.h"
#include "evomoe/routing/sigmoid_router.h"
#include "evomoe/routing/sinkhorn_router.h"
#include "evomoe/routing/sparsemixer_router.h"
#include "evomoe/routing/stablemoe_router.h"
#include "evomoe/routing/topp_router.h"
#include "tests/routing/golden_case.h"

namespace evomoe {
namespace {

using nlohmann::json;
using testing::deviation;

// The file has nine significant digits.
constexpr double kMethodTolerance = 1e-8;

/// A case of the file: its options, the router whose logits are its input, and the context.
class GoldenCase {
 public:
  GoldenCase(const json& input, const json& entry)
      : input_(input),
        entry_(entry),
        params_(entry["params"]),
        method_(entry["method"]),
        logits_TA_(testing::json_matrix(input["logits"]).requires_grad_()) {
    set_options();
    make();
    set_context();
  }

  double check() {
    const auto& expect = entry_["expect"];
    const auto T = logits_TA_.size(0), E = router_->num_experts();
    auto routing = router_->route(logits_TA_, context_);
    if (expect["info"].contains("capacity") && method_ != "expert_choice") {
      // The file rounds capacities otherwise than the reference.
      routing = apply_capacity(routing, expect["info"]["capacity"],
                               options_.get<CapacityOptions>().drop_policy);
    }
    const auto weight_TE = routing.dense(T);
    auto selected_TA = torch::zeros_like(logits_TA_, torch::kBool);
    for (int64_t token = 0; token < T; ++token) {
      for (const int64_t expert : expect["selected"][token]) selected_TA[token][expert] = true;
    }
    EXPECT_TRUE(torch::equal(testing::dense_slots(routing, T) >= 0, selected_TA.slice(1, 0, E)));
    auto all_TA = weight_TE;
    if (routing.identity_T.defined()) {
      all_TA = torch::cat({weight_TE, routing.identity_T.unsqueeze(1)}, 1);  // one free expert
    }
    compare(all_TA, testing::json_matrix(expect["weights"]));
    compare(gradient((all_TA * testing::json_matrix(input_["R"])).sum()),
            testing::json_matrix(expect["grad_weights"]));
    if (expect["info"].contains("identity_weight"))
      compare(1 - weight_TE.sum(1), testing::json_matrix(expect["info"]["identity_weight"]));
    check_losses(routing);
    if (expect["info"].contains("dropped")) {
      EXPECT_EQ(routing.stats.dropped.item<int64_t>(), expect["info"]["dropped"]);
    }
    for (const auto* key : {"n", "n_pre"}) {
      if (!expect["info"].contains(key)) continue;
      const auto load_A = testing::json_matrix(expect["info"][key]);
      EXPECT_EQ(deviation(routing.stats.load_E, load_A.slice(0, 0, E)), 0);
    }
    if (expect.contains("state") && !expect["state"].is_null()) check_state(routing);
    EXPECT_LE(largest_, kMethodTolerance);
    return largest_;
  }

 private:
  void set_options() {
    auto& topk = options_.get<TopkOptions>();
    auto& capacity = options_.get<CapacityOptions>();
    if (params_.contains("k")) topk.k = params_["k"];
    if (method_ == "switch_top1") {
      options_.method = "switch";
      capacity.drop_policy = params_["drop"] == "prob" ? "probs" : "position";
    } else if (method_ == "gshard_top2") {
      options_.method = "gshard";
      auto& gshard = options_.get<GshardOptions>();
      gshard.normalize_before_dropping = params_["normalize"] == "before";
      gshard.second_expert_policy = params_["second"];
    } else if (method_ == "topk_softmax") {
      options_.method = "topk";
      topk.no_normalize = !params_["norm_topk_prob"].get<bool>();
      capacity.train_factor = 0;
      options_.z_loss_weight = 1;
    } else if (method_ == "sigmoid_bias") {
      options_.method = "sigmoid";
      options_.get<SigmoidOptions>() = {.score = params_.value("score", "sigmoid"),
                                        .scale = params_.value("scale", 1.0),
                                        .groups = params_.value("groups", 0),
                                        .top_groups = params_.value("topg", 0),
                                        .sequence_weight = 1};
    } else if (method_ == "top_p") {
      options_.method = "topp";
      options_.get<ToppOptions>() = {.threshold = params_["p_thr"], .entropy_weight = 1};
    } else if (method_ == "base") {
      options_.method = "base";
      if (params_["assign"] == "optimal") options_.get<BaseOptions>().assignment = "optimal";
      context_.training = params_["assign"] != "greedy";
    } else if (method_ == "sinkhorn") {
      options_.method = "sinkhorn";
    } else if (method_ == "stablemoe_stage1" || method_ == "stablemoe_stage2") {
      options_.method = "stablemoe";
      options_.vocab_size = logits_TA_.size(0);
      options_.get<StableMoeOptions>() = {.stage1_updates = method_ == "stablemoe_stage1" ? 1 : 0,
                                          .distill_dim = logits_TA_.size(1),
                                          .balance_weight = 1,
                                          .distill_weight = 1};
    } else if (method_ == "relu") {
      options_.method = "relu";
      options_.get<ReluOptions>().first_weight = 1;
    } else if (method_ == "expert_choice") {
      options_.method = "expert-choice";
      options_.get<ExpertChoiceOptions>().factor = params_["capacity_factor"];
    } else if (method_ == "quantile_topk" || method_ == "quantile_dynamic") {
      options_.method = method_ == "quantile_topk" ? "quantile" : "quantile-dynamic";
      options_.get<QuantileOptions>().bins = 0;
      if (method_ == "quantile_dynamic") options_.get<QuantileDynamicOptions>().average = 0;
    } else if (method_ == "sparsemixer1" || method_ == "sparsemixer2") {
      options_.method = method_ == "sparsemixer1" ? "sparsemixer" : "sparsemixer2";
      options_.get<SparseMixerOptions>().epsilon = params_["eps"];
    } else if (method_ == "moepp") {
      options_.method = "moepp";
      options_.get<MoeppOptions>() = {.constant_experts = 0,
                                      .copy_experts = 0,
                                      .null_experts = 1,
                                      .free_balance = params_["tau"]};
    } else if (method_ == "longcat") {
      options_.method = "longcat";
      options_.get<LongcatOptions>() = {.copy_experts = 1, .scale = params_["scale"]};
    } else {
      ADD_FAILURE() << "the method `" << method_ << "` is not known to this test";
    }
    if (params_.contains("train")) context_.training = params_["train"];
  }

  void make() {
    const auto A = logits_TA_.size(1);
    options_.model_dim = A;
    options_.num_experts = method_ == "moepp" || method_ == "longcat" ? A - 1 : A;
    router_ = make_router(options_);
    router_->to(torch::kFloat64);
    const torch::NoGradGuard no_grad;
    const auto identity = torch::eye(A, torch::kFloat64);
    router_->gate_weight().copy_(identity.slice(0, 0, options_.num_experts));
    auto parameters = router_->named_parameters();
    if (auto* free_weight = parameters.find("free_weight"))
      free_weight->copy_(identity.slice(0, options_.num_experts));
    if (auto* embedding = parameters.find("distill_embedding")) {
      embedding->copy_(testing::json_matrix(input_["distill_logits"]));
      parameters["distill_centroid"].copy_(identity);
    }
    auto buffers = router_->named_buffers();
    if (uses("bias")) {
      const auto bias_A = testing::json_matrix(input_["bias"]) * params_.value("bias_scale", 1.0);
      // The bias of the free expert stays 0 here; moving all of them alike chooses the same.
      buffers["bias"].copy_(bias_A.slice(0, 0, options_.num_experts));
      if (method_ == "longcat") buffers["bias"].sub_(bias_A[A - 1]);
    }
    if (uses("beta")) buffers["threshold"].copy_(testing::json_matrix(input_["beta"]));
  }

  void set_context() {
    const auto T = logits_TA_.size(0);
    if (uses("u")) {
      context_.uniform_T = testing::json_matrix(input_["u"]);
      context_.uniform_T =
          method_ == "gshard_top2" ? context_.uniform_T[0] : context_.uniform_T.t();
    }
    if (uses("gumbel")) {
      const auto gumbel = testing::json_matrix(input_["gumbel"]);
      context_.gumbel_TE = gumbel[0];
      context_.second_gumbel_TE = gumbel[1];
    }
    if (uses("valid")) context_.valid_T = testing::json_matrix(input_["valid"]) > 0;
    context_.token_id_T = torch::arange(T, torch::kInt64);
    context_.noise.sequence_length = static_cast<uint32_t>(T / params_.value("seqs", 1));
  }

  void check_losses(const Routing& routing) {
    static const std::map<std::string, std::string> names = {
        {"lb", "balance"},        {"z", "z"},
        {"hetero_lb", "balance"}, {"seq_lb", "sequence_balance"},
        {"l1_lb", "l1"},          {"entropy", "entropy"},
        {"distill", "distill"},   {"balance", "stablemoe_balance"},
    };
    const auto& expect = entry_["expect"];
    for (const auto& [name, value] : expect["losses"].items()) {
      if (!names.contains(name)) continue;  // other scales of the same loss
      const auto loss = testing::loss_named(routing, names.at(name));
      // Where the authors divide by the number of tokens + 1e-6.
      const double more =
          method_ == "sparsemixer1" ? 1e-6 / static_cast<double>(logits_TA_.size(0)) : 0;
      compare(loss, torch::tensor(value.get<double>() * (1 + more), torch::kFloat64));
      if (!expect["grad_losses"].contains(name)) continue;
      compare(gradient(loss), testing::json_matrix(expect["grad_losses"][name]) * (1 + more));
    }
  }

  void check_state(const Routing& routing) {
    const auto& stats = routing.stats;
    router_->end_update(stats, {{0, stats}});
    const auto buffers = router_->named_buffers();
    const std::map<std::string, std::string> names = {{"bias", "bias"}, {"beta", "threshold"}};
    for (const auto& [name, value] : entry_["expect"]["state"].items())
      compare(buffers[names.at(name)], testing::json_matrix(value));
  }

  bool uses(const std::string& field) const {
    if (!entry_.contains("uses")) return false;
    for (const auto& used : entry_["uses"]) {
      if (used == field) return true;
    }
    return false;
  }

  torch::Tensor gradient(const torch::Tensor& value) const {
    if (!value.requires_grad()) return torch::zeros_like(logits_TA_);
    const auto found = torch::autograd::grad({value}, {logits_TA_}, {}, /*retain_graph=*/true,
                                             /*create_graph=*/false, /*allow_unused=*/true)[0];
    return found.defined() ? found : torch::zeros_like(logits_TA_);
  }

  void compare(const torch::Tensor& found, const torch::Tensor& expected) {
    largest_ = std::max(largest_, deviation(found, expected));
  }

  const json& input_;
  const json& entry_;
  json params_;
  std::string method_;
  torch::Tensor logits_TA_;
  RouterOptions options_;
  RoutingContext context_;
  std::shared_ptr<Router> router_;
  double largest_ = 0;
};

json golden_file() { return testing::read_json(testing::golden_dir() / "routing_methods.json"); }

const json& case_named(const json& file, const std::string& id) {
  for (const auto& entry : file["cases"]) {
    if (entry["id"] == id) return entry;
  }
  throw std::runtime_error("no case " + id);
}

TEST(RoutingMethodsGolden, EachMethodMatchesSelectionsWeightsLossesGradientsAndState) {
  const auto file = golden_file();
  // Cases that other tests take.
  const std::set<std::string> elsewhere = {
      "causality_probe", "default_moe",   "densemixer",        "drop_upcycling", "hash",
      "metrics",         "state_updates", "load_balance_scope"};
  int cases = 0;
  std::map<std::string, double> largest;
  for (const auto& entry : file["cases"]) {
    const std::string method = entry["method"];
    SCOPED_TRACE(entry["id"].get<std::string>());
    if (elsewhere.contains(method)) continue;
    GoldenCase golden(file["inputs"][entry["input"].get<std::string>()], entry);
    largest[method] = std::max(largest[method], golden.check());
    ++cases;
  }
  for (const auto& [method, deviation] : largest)
    std::printf("routing_methods.json: %s, largest deviation %.2g\n", method.c_str(), deviation);
  testing::expect_cases(cases, 132);
}

/// A case with outputs of experts [T,E,M]: what a layer makes of the routing. M may be less than D,
/// as the router's input is the logits.
double check_layer_case(const json& entry) {
  const auto &data = entry["data"], &expect = entry["expect"], &params = entry["params"];
  const auto logits_TE = testing::json_matrix(data["logits"]).requires_grad_();
  const auto given_TEM = testing::json_matrix(data["expert_out"]).requires_grad_();
  const auto T = given_TEM.size(0), E = given_TEM.size(1), M = given_TEM.size(2);
  const bool fills = entry["method"] == "default_moe";
  RouterOptions options;
  options.method = fills ? "default-moe" : "densemixer";
  options.get<TopkOptions>().k = params["k"];
  if (fills) {
    options.get<DefaultMoeOptions>() = {
        .average = params["beta"], .mode = params["mode"] == "forward" ? "forward" : "backward"};
  } else {
    options.get<TopkOptions>().no_normalize = params["norm_topk_prob"] == 0;
  }
  const auto router = testing::logits_router(options, E, torch::kFloat64);
  torch::Tensor default_EM;
  if (fills) {
    default_EM = router->named_buffers()["default"].slice(1, 0, M);
    default_EM.copy_(testing::json_matrix(data["default"]));
  }
  const auto routing = router->route(logits_TE, {});
  const auto weight_TE = routing.dense(T);
  auto out_TM = (weight_TE.unsqueeze(2) * given_TEM).sum(1);
  if (fills) out_TM = out_TM + routing.vector_weight_TN.mm(routing.vector_ND.slice(1, 0, M));
  double largest = 0;
  const auto compare = [&](const torch::Tensor& found, const json& expected) {
    largest = std::max(largest, deviation(found, testing::json_matrix(expected)));
  };
  compare(out_TM, expect["out"]);
  compare(weight_TE, expect["weights"]);
  const auto gradients = torch::autograd::grad({(out_TM * testing::json_matrix(data["G"])).sum()},
                                               {logits_TE, given_TEM});
  compare(gradients[0], expect["grad_logits"]);
  compare(gradients[1], expect["grad_expert_out"]);
  auto load_E = torch::zeros({E}, torch::kInt64);
  for (const auto& experts : expect["selected"]) {
    for (const int64_t expert : experts) load_E[expert] += 1;
  }
  EXPECT_TRUE(torch::equal(routing.stats.load_E, load_E));
  EXPECT_EQ(routing.num_assignments(), fills ? T * params["k"].get<int64_t>() : T * E);
  if (fills) {
    auto stats = routing.stats;
    stats.output_sum_ED1 = torch::zeros({E, E + 1}, torch::kFloat64);
    const auto used_TE1 = (weight_TE.detach() != 0).unsqueeze(2);
    stats.output_sum_ED1.slice(1, 0, M).copy_((given_TEM.detach() * used_TE1).sum(0));
    stats.output_sum_ED1.select(1, E).copy_(load_E);
    router->end_update(stats, {{0, stats}});
    compare(default_EM, expect["state"]["default"]);
  }
  // In evaluation the experts that a token does not use compute nothing.
  RoutingContext evaluation;
  evaluation.training = false;
  const auto sparse = router->route(logits_TE, evaluation);
  EXPECT_EQ(sparse.num_assignments(), T * params["k"].get<int64_t>());
  compare(sparse.dense(T), expect["weights"]);
  EXPECT_EQ(sparse.vector_ND.defined(), fills && params["mode"] == "forward");
  return largest;
}

TEST(RoutingMethodsGolden, LayersOfAllExpertsGradientsMatchOutputsGradientsAndState) {
  const auto file = golden_file();
  int cases = 0;
  double largest = 0;
  for (const auto& entry : file["cases"]) {
    if (entry["method"] != "default_moe" && entry["method"] != "densemixer") continue;
    SCOPED_TRACE(entry["id"].get<std::string>());
    largest = std::max(largest, check_layer_case(entry));
    EXPECT_LE(largest, kMethodTolerance);
    ++cases;
  }
  std::printf("routing_methods.json: default-moe, densemixer, largest deviation %.2g\n", largest);
  testing::expect_cases(cases, 12);
}

TEST(RoutingMethodsGolden, HashTablesMatch) {
  const auto file = golden_file();
  const auto& entry = case_named(file, "hash_tables");
  const auto& params = entry["params"];
  const auto& expect = entry["expect"];
  const int64_t E = params["E"], V = params["V"];
  const auto same = [](const torch::Tensor& table_V, const json& expected) {
    return torch::equal(table_V,
                        torch::tensor(expected.get<std::vector<int64_t>>(), torch::kInt64));
  };
  EXPECT_TRUE(same(random_hash(V, E, params["seed"]), expect["random"]));
  EXPECT_TRUE(same(random_hash(V, E, 0), expect["random_seed0"]));
  const auto balanced_V = balanced_hash(params["frequencies"].get<std::vector<int64_t>>(), E);
  EXPECT_TRUE(same(balanced_V, expect["balanced"]));

  RouterOptions options;
  options.method = "hash";
  options.model_dim = 3;
  options.num_experts = E;
  options.vocab_size = V;
  const auto router = make_router(options);
  router->named_buffers()["table"].copy_(balanced_V);
  RoutingContext context;
  context.token_id_T =
      torch::tensor(expect["token_ids"].get<std::vector<int64_t>>(), torch::kInt64);
  const auto T = context.token_id_T.size(0);
  const auto weight_TE = router->route(torch::rand({T, 3}), context).dense(T);
  for (int64_t t = 0; t < T; ++t) {
    const int64_t expert = expect["selected_balanced"][t][0];
    EXPECT_EQ(weight_TE[t][expert].item<double>(), expect["weight"].get<double>());
    EXPECT_EQ(weight_TE[t].sum().item<double>(), 1);
  }
}

/// What an update knows of `counts`, the loads of its experts.
RouterStats stats_of(const json& counts, int64_t tokens) {
  RouterStats stats;
  stats.load_E = torch::tensor(counts.get<std::vector<int64_t>>(), torch::kInt64);
  stats.tokens = tokens;
  return stats;
}

/// After each update with the counts the buffer of the router is the next of the traces.
void expect_trace(const RouterOptions& options, const json& counts, int64_t tokens,
                  const std::string& buffer, const json& trace) {
  const auto router = make_router(options);
  router->to(torch::kFloat64);
  for (size_t step = 0; step < counts.size(); ++step) {
    auto stats = stats_of(counts[step], tokens);
    stats.load_E = stats.load_E.slice(0, 0, options.num_experts);
    router->end_update(stats, {{0, stats}});
    const auto expected = testing::json_matrix(trace[step]).slice(0, 0, options.num_experts);
    EXPECT_LE((router->named_buffers()[buffer] - expected).abs().max().item<double>(), 1e-11)
        << buffer << " " << step;
  }
}

TEST(RoutingMethodsGolden, BiasesMoveAsTheirTraces) {
  const auto file = golden_file();
  const auto& expect = case_named(file, "state_traces")["expect"];
  RouterOptions options;
  options.method = "sigmoid";
  options.model_dim = 3;
  options.num_experts = 8;
  auto& sigmoid = options.get<SigmoidOptions>();
  for (const auto* rule : {"sign", "sign_centered", "proportional"}) {
    sigmoid.bias_rule = rule;
    expect_trace(options, expect["counts"], 32, "bias", expect[std::string(rule) + "_rate1e-3"]);
  }
  sigmoid.bias_rule = "smebu";
  sigmoid.bias_rate = 5e-4;
  expect_trace(options, expect["counts"], 32, "bias", expect["smebu_bias"]);
  expect_trace(options, expect["counts"], 32, "bias_momentum", expect["smebu_momentum"]);

  const auto& longcat = expect["longcat"];
  options = RouterOptions();
  options.method = "longcat";
  options.model_dim = 3;
  options.num_experts = longcat["n_ffn"];
  options.get<TopkOptions>().k = longcat["k"];
  options.get<LongcatOptions>() = {
      .copy_experts = 2, .target_k = longcat["k_e"], .bias_rate = longcat["mu"]};
  expect_trace(options, expect["counts"], longcat["T"], "bias", longcat["bias"]);
}

/// Statistics of 1000 tokens of which each has `k` experts on average.
RouterStats stats_with(double k, int64_t num_experts) {
  RouterStats stats;
  stats.tokens = 1000;
  stats.load_E = torch::zeros({num_experts}, torch::kInt64);
  stats.load_E[0] = static_cast<int64_t>(std::llround(1000 * k));
  return stats;
}

TEST(RoutingMethodsGolden, ControllersMoveAsTheirTraces) {
  const auto file = golden_file();
  const auto& expect = case_named(file, "state_traces")["expect"];
  const auto& lambda = expect["remoe_lambda"];
  RouterOptions options;
  options.method = "relu";
  options.model_dim = 3;
  options.num_experts = 8;
  options.get<TopkOptions>().k = 2;  // of 8: a sparsity of 0.75
  options.get<ReluOptions>() = {.first_weight = lambda["start"], .factor = lambda["alpha"]};
  const auto relu = make_router(options);
  relu->to(torch::kFloat64);
  for (size_t step = 0; step < lambda["value"].size(); ++step) {
    const auto stats = stats_with(8 * (1 - lambda["sparsity"][step].get<double>()), 8);
    relu->end_update(stats, {{0, stats}});
    const double expected = lambda["value"][step];
    EXPECT_NEAR(relu->named_buffers()["loss_weight"].item<double>(), expected, 1e-7 * expected);
  }

  const auto& trace = expect["pi_threshold"];
  options = RouterOptions();
  options.method = "topp";
  options.model_dim = 3;
  options.num_experts = trace["E"];
  options.get<ToppOptions>() = {.threshold = trace["p0"], .target_k = trace["k_target"]};
  const auto topp = make_router(options);
  topp->to(torch::kFloat64);
  for (size_t step = 0; step < trace["p"].size(); ++step) {
    const auto stats = stats_with(trace["mean_active"][step], 8);
    topp->end_update(stats, {{0, stats}, {2, stats}});
    EXPECT_NEAR(topp->named_buffers()["threshold"].item<double>(), trace["p"][step], 1e-7);
  }
}

TEST(RoutingMethodsGolden, RouterMetricsMatchTheirDefinitions) {
  const auto file = testing::read_json(testing::golden_dir() / "routing_methods.json");
  for (const auto& entry : file["cases"]) {
    if (entry["method"] != "metrics") continue;
    RouterOptions options;
    options.method = "topk";
    options.get<TopkOptions>().k = entry["params"]["k"];
    const auto logits_TE =
        testing::json_matrix(file["inputs"][entry["input"].get<std::string>()]["logits"]);
    auto router = testing::logits_router(options, logits_TE.size(1), torch::kFloat64);
    const auto metrics = router_metrics(router->route(logits_TE, RoutingContext{}).stats);
    const auto& expect = entry["expect"];
    EXPECT_EQ(metrics.load_E, expect["load"].get<std::vector<int64_t>>());
    EXPECT_NEAR(metrics.max_violation, expect["max_vio"], 1e-8);
    EXPECT_NEAR(metrics.load_cv, expect["cv"], 1e-8);
    EXPECT_NEAR(metrics.token_entropy, expect["token_entropy"], 1e-8);
    EXPECT_NEAR(metrics.mean_active, expect["mean_active"], 1e-8);
    EXPECT_EQ(metrics.dead_experts, expect["dead"]);
    return;
  }
  FAIL() << "the golden file has no metrics case";
}

}  // namespace
}  // namespace evomoe
