// The authors' MoE layer: outputs, balance loss and gradients of moe_layer.json and of the layer
// cases of tests/golden/routing.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "evomoe/moe/moe_layer.h"
#include "tests/routing/golden_case.h"

namespace evomoe {
namespace {

using testing::json_tensor;

/// One case: what goes in, and what must come out (tensors by name).
struct LayerCase {
  RouterOptions router;
  RoutingContext context;
  int64_t hidden_dim = 0, padded_batch = 0;
  double loss_weight = 0;
  torch::Tensor x, gate, w1, b1, w2, b2, grad_y;
};

struct LayerResult {
  torch::Tensor y, loss, grad_x, grad_gate, grad_w1, grad_b1, grad_w2, grad_b2;
};

LayerResult run(const LayerCase& test) {
  MoELayerOptions options;
  options.router = test.router;
  options.hidden_dim = test.hidden_dim;
  MoELayer layer(options);
  auto parameters = layer->named_parameters();
  {
    const torch::NoGradGuard no_grad;
    parameters["gate.wg.weight"].copy_(test.gate);
    parameters["experts.w1"].copy_(test.w1);
    parameters["experts.b1"].copy_(test.b1);
    parameters["experts.w2"].copy_(test.w2);
    parameters["experts.b2"].copy_(test.b2);
  }
  const auto x = test.x.clone().requires_grad_(true);
  const auto output = layer->forward(x, test.context, test.padded_batch);
  LayerResult result;
  result.y = output.y_BSD.detach();
  result.loss = output.losses.at(0).value;
  ((output.y_BSD * test.grad_y).sum() + test.loss_weight * result.loss).backward();
  result.grad_x = x.grad();
  result.grad_gate = parameters["gate.wg.weight"].grad();
  result.grad_w1 = parameters["experts.w1"].grad();
  result.grad_b1 = parameters["experts.b1"].grad();
  result.grad_w2 = parameters["experts.w2"].grad();
  result.grad_b2 = parameters["experts.b2"].grad();
  return result;
}

/// The largest deviation over several tensors, as a share of each tensor's largest entry: gate
/// gradients are small differences of large terms, and the vectors themselves are that far from
/// values in float64.
class Worst {
 public:
  void compare(const std::string& name, const torch::Tensor& given, const torch::Tensor& expected) {
    const double scale = std::max(1.0, expected.abs().max().item<double>());
    const double d = (given.reshape(-1) - expected.reshape(-1)).abs().max().item<double>() / scale;
    EXPECT_LT(d, 1e-6) << name;
    value_ = std::max(value_, d);
  }
  double value() const { return value_; }

 private:
  double value_ = 0;
};

torch::Tensor stacked(const nlohmann::json& experts, const std::string& name) {
  std::vector<torch::Tensor> parts;
  for (const auto& expert : experts) parts.push_back(json_tensor(expert[name]));
  return torch::stack(parts);
}

LayerCase json_case(const nlohmann::json& file, const nlohmann::json& entry,
                    Communicator& communicator) {
  LayerCase test;
  test.router.model_dim = file["M"];
  test.router.num_experts = file["E"];
  const std::string gate = entry["gate"];
  // An unknown gate keeps its own name, which no router has.
  test.router.method = gate == "top1"   ? "switch"
                       : gate == "top2" ? "gshard"
                       : gate == "topk" ? "dts"
                                        : gate;
  auto& capacity = test.router.get<CapacityOptions>();
  capacity.train_factor = entry.value("capacity_factor", 1.0);
  capacity.eval_fraction = entry.value("eval_fraction", 0.25);
  auto& gshard = test.router.get<GshardOptions>();
  gshard.second_expert_policy = entry.value("policy", "sampling");
  gshard.normalize_before_dropping = entry.value("normalize_before", false);
  gshard.batch_prioritized = entry.value("bpr", false);
  test.router.get<GumbelGateOptions>().use_gumbel_gates = entry.value("use_gumbel_gates", false);
  test.context.schedule.temperature = entry.value("temperature", -1.0);
  test.context.schedule.hard = !entry.value("soft", true);
  test.context.training = entry["train"];
  test.context.communicator = &communicator;
  test.padded_batch = entry.value("batch_size", 0);
  if (entry["masked"]) test.context.valid_T = json_tensor(file["pad_mask"]).logical_not().flatten();
  if (gate == "topk" && test.context.training) {
    test.context.gumbel_TE =
        json_tensor(file[test.padded_batch > 0 ? "gumbel_padded_batch4" : "gumbel"]);
  }
  test.hidden_dim = file["H"];
  test.loss_weight = 0.3;
  test.x = json_tensor(file["x"]);
  test.gate = json_tensor(file["wg"]);
  test.w1 = stacked(file["experts"], "fc1.weight");
  test.b1 = stacked(file["experts"], "fc1.bias");
  test.w2 = stacked(file["experts"], "fc2.weight");
  test.b2 = stacked(file["experts"], "fc2.bias");
  test.grad_y = json_tensor(file["R"]);
  return test;
}

TEST(MoELayerGolden, TheCasesOfMoeLayerJsonAgreeWithTheirGradients) {
  const auto file = testing::read_json(testing::golden_dir() / "moe_layer.json");
  SelfCommunicator communicator;
  Worst worst;
  int count = 0;
  for (const auto& entry : file["cases"]) {
    SCOPED_TRACE("case " + std::to_string(count++) + ", gate " + entry["gate"].get<std::string>());
    const auto result = run(json_case(file, entry, communicator));
    worst.compare("out", result.y, json_tensor(entry["out"]));
    worst.compare("l_aux", result.loss, torch::tensor(entry["l_aux"][0].get<double>()));
    worst.compare("grad_x", result.grad_x, json_tensor(entry["grad_x"]));
    worst.compare("grad_wg", result.grad_gate, json_tensor(entry["grad_wg"]));
    worst.compare("grad_fc1_0", result.grad_w1[0], json_tensor(entry["grad_fc1_0"]));
    worst.compare("grad_fc2b_3", result.grad_b2[3], json_tensor(entry["grad_fc2b_3"]));
  }
  testing::expect_cases(count, 13);
  std::cout << count << " cases, largest deviation " << worst.value() << "\n";
}

TEST(MoELayerGolden, TheLayerCasesOfTheSecondSetAgreeWithAllGradients) {
  SelfCommunicator communicator;
  Worst worst;
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(testing::golden_dir() / "routing")) {
    const auto name = entry.path().filename().string();
    if (name.find("_layer_") == std::string::npos) continue;  // gates, tested in the room routing
    SCOPED_TRACE(name);
    ++count;
    const auto file = testing::read_golden(entry.path());
    const auto setting = [&](const char* key, const std::string& otherwise) {
      return file.metadata.value(key, otherwise);
    };
    LayerCase test;
    test.router.method = setting("gate", "");
    test.router.model_dim = file.get("x").size(2);
    test.router.num_experts = std::stoll(setting("experts", "0"));
    test.router.get<CapacityOptions>().train_factor = std::stod(setting("cap", "1.0"));
    if (test.router.method == "gshard") {
      test.router.get<GshardOptions>().second_expert_policy =
          setting("second_expert_policy", "all");
    }
    test.router.get<GumbelGateOptions>().use_gumbel_gates = setting("gg", "false") == "true";
    test.context.schedule.temperature = std::stod(setting("tau", "-1"));
    test.context.schedule.hard = setting("soft", "true") == "false";
    test.context.communicator = &communicator;
    test.context.gumbel_TE = file.get("gumbel");
    test.loss_weight = std::stod(setting("aux_weight_in_grad", "0"));
    test.x = file.get("x");
    test.gate = file.get("gate.weight");
    test.w1 = file.get("experts.fc1.weight");
    test.b1 = file.get("experts.fc1.bias");
    test.w2 = file.get("experts.fc2.weight");
    test.b2 = file.get("experts.fc2.bias");
    test.hidden_dim = test.w1.size(1);
    test.grad_y = file.get("grad_y");
    const auto result = run(test);
    worst.compare("y", result.y, file.get("y"));
    worst.compare("l_aux", result.loss, file.get("l_aux"));
    worst.compare("grad_x", result.grad_x, file.get("grad_x"));
    worst.compare("grad_gate", result.grad_gate, file.get("grad_gate.weight"));
    worst.compare("grad_w1", result.grad_w1, file.get("grad_experts.fc1.weight"));
    worst.compare("grad_b1", result.grad_b1, file.get("grad_experts.fc1.bias"));
    worst.compare("grad_w2", result.grad_w2, file.get("grad_experts.fc2.weight"));
    worst.compare("grad_b2", result.grad_b2, file.get("grad_experts.fc2.bias"));
  }
  testing::expect_cases(count, 7);
  std::cout << count << " cases, largest deviation " << worst.value() << "\n";
}

}  // namespace
}  // namespace evomoe
