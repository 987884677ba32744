// The routers of the library for evomoe/routers.py, which makes a torch.nn.Module of them.
#include <fmt/ranges.h>
#include <torch/extension.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
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
#include "evomoe/routing/registry.h"
#include "json.h"

namespace evomoe::python {
namespace {

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;
using Tensors = std::map<std::string, torch::Tensor>;

/// A name as Python writes it, of an option or a method.
std::string with_underscores(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

[[noreturn]] void fail_unknown(const std::string& method, const std::string& name,
                               const OptionTable& table) {
  std::vector<std::string> names;
  for (const auto& option : table.options()) names.push_back(with_underscores(option->name()));
  const auto nearest = nearest_name(name, names);
  fail_usage("router {} has no option {}{}; it has: {}", method, name,
             nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest),
             names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")));
}

/// Sets options by their names in Python: moe_k=2 is --moe-k 2.
void set_options(const std::string& method, OptionSet& options, const py::dict& values) {
  OptionTable table("", "");
  describe_method_options(table, options, method);
  std::map<std::string, Option*> by_name;
  for (const auto& option : table.options())
    by_name[with_underscores(option->name())] = option.get();
  for (const auto value : values) {
    const auto name = value.first.cast<std::string>();
    const auto found = by_name.find(name);
    if (found == by_name.end()) fail_unknown(method, name, table);
    const auto json = to_json(value.second);
    found->second->check(json, name);
    found->second->store(json, /*by_user=*/true);
  }
}

/// The options of a method: name, default, and what is said of it.
py::list described_options(const std::string& method) {
  OptionSet options;
  OptionTable table("", "");
  describe_method_options(table, options, method);
  py::list list;
  for (const auto& option : table.options())
    list.append(py::make_tuple(with_underscores(option->name()), to_python(option->default_value()),
                               option->full_help()));
  return list;
}

/// The methods that BoundRouter takes. It is not asked, as making a router draws from torch's
/// generator.
std::vector<std::string> bound_router_names() {
  auto names = router_names();
  std::erase(names, "default-moe");
  return names;
}

/// A router that computes with tensors of the module in Python, and what is done with it between
/// two updates.
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
      fail_usage(
          "router {} watches what experts give, which only the layer in C++ tells it; use "
          "another one",
          method);
    const torch::NoGradGuard no_grad;
    router_->initialise(seed, layer);
    for (const auto& [name, tensor] : parameters()) own_[name] = tensor;
    for (const auto& [name, tensor] : buffers()) own_[name] = tensor;
  }

  /// With what exceeds the capacity dropped. `tensors`: the parameters and buffers, all of them.
  Routing route(const torch::Tensor& x_TD, const Tensors& tensors, bool training, uint64_t seed,
                uint32_t update, uint32_t first_sequence, uint32_t sequence_length,
                double temperature, bool hard, double noise_scale,
                const std::optional<torch::Tensor>& valid_T,
                const std::optional<torch::Tensor>& token_id_T) {
    const std::lock_guard one_thread(mutex_);  // of a server, say, all with the same module
    const OwnAgain own_again(*this);
    use(tensors);
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

  /// With their first values.
  NamedTensors parameters() const { return router_->named_parameters().pairs(); }
  NamedTensors buffers() const { return router_->named_buffers().pairs(); }
  void begin_update() {
    const std::lock_guard one_thread(mutex_);
    router_->begin_update();
  }
  void end_update(const Tensors& tensors, const RouterStats& own,
                  const std::vector<RouterStats>& of_all) {
    const std::lock_guard one_thread(mutex_);
    const OwnAgain own_again(*this);
    use(tensors);
    LayerStats layers;
    for (const auto& stats : of_all)
      layers.emplace_back(static_cast<int64_t>(layers.size()), stats);
    router_->end_update(own, layers);
  }
  int64_t most_experts_per_token() const { return router_->most_experts_per_token(); }
  bool follows_schedule() const { return router_->follows_schedule(); }
  std::string sees_future() const { return router_->sees_future(); }

 private:
  /// Gives the router its own tensors back when a call ends, also by an exception: it would keep
  /// those of the module until the next call, and with one that is no leaf the graph behind it.
  class OwnAgain {
   public:
    explicit OwnAgain(BoundRouter& router) : router_(router) {}
    OwnAgain(const OwnAgain&) = delete;
    OwnAgain& operator=(const OwnAgain&) = delete;
    ~OwnAgain() { router_.use(router_.own_); }

   private:
    BoundRouter& router_;
  };

  void use(const Tensors& tensors) {
    for (const auto& [name, tensor] : tensors) router_->use_tensor(name, tensor);
  }

  RouterOptions options_;
  int64_t layer_;
  std::shared_ptr<Router> router_;
  Tensors own_;  ///< those that the router was made with
  std::mutex mutex_;
};

/// The first values of experts, as the layer in C++ has them.
NamedTensors initial_experts(int64_t num_experts, int64_t model_dim, int64_t hidden_dim,
                             const std::string& activation, bool gated, bool biases, uint64_t seed,
                             int64_t layer) {
  ExpertBankOptions options;
  options.num_experts = num_experts;
  options.model_dim = model_dim;
  options.hidden_dim = hidden_dim;
  options.activation = activation;
  options.gated = gated;
  options.biases = biases;
  options.layer = layer;
  options.initial_seed = seed;
  return ExpertBank(options)->named_parameters().pairs();
}

}  // namespace

void bind_routers(py::module_& module) {
  module.def("router_names", &bound_router_names);
  module.def("router_options", &described_options, py::arg("method"));
  module.def("initial_experts", &initial_experts);

  py::class_<RouterStats>(module, "RouterStats")
      .def_readonly("tokens", &RouterStats::tokens)
      .def_readonly("assignments", &RouterStats::assignments)
      .def_readonly("load", &RouterStats::load_E)
      .def_readonly("active", &RouterStats::active_E1)
      .def_readonly("dropped", &RouterStats::dropped)
      .def_readonly("entropy_sum", &RouterStats::entropy_sum)
      .def("__add__", [](RouterStats sum, const RouterStats& other) { return sum += other; });

  py::class_<Routing>(module, "Routing")
      .def_readonly("token", &Routing::token_A)
      .def_readonly("weight", &Routing::weight_A)
      .def_readonly("offset", &Routing::offset_E1)
      .def_readonly("identity", &Routing::identity_T)
      .def_readonly("vector_weight", &Routing::vector_weight_TN)
      .def_readonly("vector", &Routing::vector_ND)
      .def_property_readonly("losses",
                             [](const Routing& routing) {
                               py::dict losses;
                               for (const auto& loss : routing.losses)
                                 losses[py::str(loss.name)] = loss.value;
                               return losses;
                             })
      // A reference would keep the Routing with its graph.
      .def_readonly("stats", &Routing::stats, py::return_value_policy::copy)
      .def("dense", &Routing::dense, py::arg("num_tokens"));

  py::class_<BoundRouter>(module, "Router")
      .def(py::init<const std::string&, int64_t, int64_t, uint64_t, int64_t, int64_t, double,
                    const std::string&, const py::dict&>())
      .def("route", &BoundRouter::route, py::call_guard<py::gil_scoped_release>(), py::arg("x"),
           py::arg("tensors"), py::kw_only(), py::arg("training"), py::arg("seed"),
           py::arg("update"), py::arg("first_sequence"), py::arg("sequence_length"),
           py::arg("temperature"), py::arg("hard"), py::arg("noise_scale"), py::arg("valid"),
           py::arg("token_id"))
      .def("parameters", &BoundRouter::parameters)
      .def("buffers", &BoundRouter::buffers)
      .def("begin_update", &BoundRouter::begin_update, py::call_guard<py::gil_scoped_release>())
      .def("end_update", &BoundRouter::end_update, py::call_guard<py::gil_scoped_release>(),
           py::arg("tensors"), py::arg("own"), py::arg("of_all"))
      .def_property_readonly("most_experts_per_token", &BoundRouter::most_experts_per_token)
      .def_property_readonly("follows_schedule", &BoundRouter::follows_schedule)
      .def_property_readonly("sees_future", &BoundRouter::sees_future);
}

}  // namespace evomoe::python
