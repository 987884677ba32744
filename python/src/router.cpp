// The routers of the library for evomoe/routers.py, which makes a torch.nn.Module of them.
#include <fmt/ranges.h>
#include <torch/extension.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"
#include "evomoe/base/error.h"
#include "evomoe/base/nearest_name.h"
#include "evomoe/config/option_table.h"
#include "evomoe/moe/expert_bank.h"
#include "evomoe/routing/capacity.h"
#include "evomoe/routing/method_options.h"
#include "evomoe/routing/registry.h"
#include "json.h"

namespace evomoe::python {
namespace {

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

/// A name as Python writes it, of an option or a method.
std::string with_underscores(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

/// Sets options by their names in Python: moe_k=2 is --moe-k 2.
void set_options(const std::string& method, OptionSet& options, const py::dict& values) {
  OptionTable table("", "");
  describe_router_options(table, options);
  std::vector<std::string> names;
  for (const auto& name : options_of_method(method)) names.push_back(with_underscores(name));
  for (const auto value : values) {
    const auto name = value.first.cast<std::string>();
    if (std::ranges::find(names, name) == names.end()) {
      const auto nearest = nearest_name(name, names);
      fail_usage("router {} has no option {}{}; it has: {}", method, name,
                 nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest),
                 names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")));
    }
    for (const auto& option : table.options()) {
      if (with_underscores(option->name()) != name) continue;
      const auto json = to_json(value.second);
      option->check(json, name);
      option->store(json, /*by_user=*/true);
    }
  }
}

/// The options of a method: name, default, and what is said of it.
py::list described_options(const std::string& method) {
  OptionSet options;
  OptionTable table("", "");
  describe_router_options(table, options);
  py::list list;
  for (const auto& name : options_of_method(method)) {
    const auto& option = table.at(name);
    list.append(py::make_tuple(with_underscores(name), to_python(option.default_value()),
                               option.full_help()));
  }
  return list;
}

/// A router and what is done with it between two updates.
class BoundRouter {
 public:
  BoundRouter(const std::string& method, int64_t model_dim, int64_t num_experts, uint64_t seed,
              int64_t layer, int64_t vocab_size, double z_loss_weight,
              const std::string& balance_scope, const py::dict& values)
      : layer_(layer) {
    options_.method = method;
    options_.model_dim = model_dim;
    options_.num_experts = num_experts;
    options_.vocab_size = vocab_size;
    options_.z_loss_weight = z_loss_weight;
    options_.balance_scope = balance_scope;
    set_options(method, options_.of_methods, values);
    router_ = make_router(options_);
    if (router_->watches_outputs())
      fail_usage("router {} watches what experts give, which only the layer in C++ tells it; use "
                 "another one",
                 method);
    const torch::NoGradGuard no_grad;
    router_->initialise(seed, layer);
  }

  /// With what exceeds the capacity dropped.
  Routing route(const torch::Tensor& x_TD, bool training, uint64_t seed, uint32_t update,
                uint32_t first_sequence, uint32_t sequence_length, double temperature, bool hard,
                double noise_scale, const std::optional<torch::Tensor>& valid_T,
                const std::optional<torch::Tensor>& token_id_T) {
    RoutingContext context;
    context.training = training;
    context.noise = {.seed = seed,
                     .update = update,
                     .layer = static_cast<uint32_t>(layer_),
                     .first_sequence = first_sequence,
                     .sequence_length = sequence_length};
    context.schedule = {.temperature = temperature, .hard = hard, .noise_scale = noise_scale};
    if (valid_T) context.valid_T = *valid_T;
    if (token_id_T) context.token_id_T = *token_id_T;
    return apply_capacity(router_->route(x_TD, context), router_->capacity(x_TD.size(0), training),
                          options_.get<CapacityOptions>().drop_policy, context.valid_T);
  }

  NamedTensors parameters() const { return of(router_->named_parameters()); }
  NamedTensors buffers() const { return of(router_->named_buffers()); }
  void begin_update() { router_->begin_update(); }
  void end_update(const RouterStats& own, const std::vector<RouterStats>& of_all) {
    LayerStats layers;
    for (const auto& stats : of_all)
      layers.emplace_back(static_cast<int64_t>(layers.size()), stats);
    router_->end_update(own, layers);
  }
  int64_t most_experts_per_token() const { return router_->most_experts_per_token(); }
  bool follows_schedule() const { return router_->follows_schedule(); }
  std::string sees_future() const { return router_->sees_future(); }

 private:
  static NamedTensors of(const torch::OrderedDict<std::string, torch::Tensor>& tensors) {
    NamedTensors list;
    for (const auto& item : tensors) list.emplace_back(item.key(), item.value());
    return list;
  }

  RouterOptions options_;
  int64_t layer_;
  std::shared_ptr<Router> router_;
};

std::optional<torch::Tensor> maybe(const torch::Tensor& tensor) {
  if (!tensor.defined()) return std::nullopt;
  return tensor;
}

/// The first values of experts, as the layer in C++ has them.
NamedTensors initial_experts(int64_t num_experts, int64_t model_dim, int64_t hidden_dim,
                             const std::string& activation, bool gated, bool biases,
                             uint64_t seed, int64_t layer) {
  ExpertBankOptions options;
  options.num_experts = num_experts;
  options.model_dim = model_dim;
  options.hidden_dim = hidden_dim;
  options.activation = activation;
  options.gated = gated;
  options.biases = biases;
  options.layer = layer;
  options.initial_seed = seed;
  ExpertBank bank(options);
  NamedTensors list;
  for (const auto& item : bank->named_parameters())
    list.emplace_back(item.key(), item.value().detach());
  return list;
}

}  // namespace

void bind_routers(py::module_& module) {
  module.def("router_names", &router_names);
  module.def("router_options", &described_options, py::arg("method"));
  module.def("initial_experts", &initial_experts);

  py::class_<RouterStats>(module, "RouterStats")
      .def_readonly("tokens", &RouterStats::tokens)
      .def_readonly("assignments", &RouterStats::assignments)
      .def_property_readonly("load", [](const RouterStats& stats) { return stats.load_E; })
      .def_property_readonly("active", [](const RouterStats& stats) { return stats.active_E1; })
      .def_property_readonly("dropped", [](const RouterStats& stats) { return stats.dropped; })
      .def_property_readonly("entropy_sum",
                             [](const RouterStats& stats) { return stats.entropy_sum; })
      .def("__add__", [](RouterStats sum, const RouterStats& other) { return sum += other; });

  py::class_<Routing>(module, "Routing")
      .def_property_readonly("token", [](const Routing& routing) { return routing.token_A; })
      .def_property_readonly("weight", [](const Routing& routing) { return routing.weight_A; })
      .def_property_readonly("offset", [](const Routing& routing) { return routing.offset_E1; })
      .def_property_readonly("identity", [](const Routing& r) { return maybe(r.identity_T); })
      .def_property_readonly("vector_weight",
                             [](const Routing& r) { return maybe(r.vector_weight_TN); })
      .def_property_readonly("vector", [](const Routing& r) { return maybe(r.vector_ND); })
      .def_property_readonly("losses",
                             [](const Routing& routing) {
                               py::dict losses;
                               for (const auto& loss : routing.losses)
                                 losses[py::str(loss.name)] = loss.value;
                               return losses;
                             })
      .def_property_readonly("stats", [](const Routing& routing) { return routing.stats; })
      .def("dense", &Routing::dense, py::arg("num_tokens"));

  py::class_<BoundRouter>(module, "Router")
      .def(py::init<const std::string&, int64_t, int64_t, uint64_t, int64_t, int64_t, double,
                    const std::string&, const py::dict&>())
      .def("route", &BoundRouter::route, py::call_guard<py::gil_scoped_release>(), py::arg("x"),
           py::kw_only(), py::arg("training"), py::arg("seed"), py::arg("update"),
           py::arg("first_sequence"), py::arg("sequence_length"), py::arg("temperature"),
           py::arg("hard"), py::arg("noise_scale"), py::arg("valid"), py::arg("token_id"))
      .def("parameters", &BoundRouter::parameters)
      .def("buffers", &BoundRouter::buffers)
      .def("begin_update", &BoundRouter::begin_update)
      .def("end_update", &BoundRouter::end_update)
      .def_property_readonly("most_experts_per_token", &BoundRouter::most_experts_per_token)
      .def_property_readonly("follows_schedule", &BoundRouter::follows_schedule)
      .def_property_readonly("sees_future", &BoundRouter::sees_future);
}

}  // namespace evomoe::python
