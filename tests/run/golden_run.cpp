#include "tests/run/golden_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <regex>

#include "evomoe/config/option_table.h"
#include "evomoe/text/dictionary.h"
#include "tests/testing/paths.h"

namespace evomoe::testing {

std::vector<std::string> golden_run_names() {
  std::vector<std::string> names;
  if (!std::filesystem::exists(golden_training_dir())) return names;
  for (const auto& entry : std::filesystem::directory_iterator(golden_training_dir())) {
    if (std::filesystem::exists(entry.path() / "flags.json"))
      names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

GoldenRun read_golden_run(const std::string& name) {
  GoldenRun run;
  run.name = name;
  run.folder = golden_training_dir() / name;
  run.flags = read_json(run.folder / "flags.json");
  run.updates = read_json(run.folder / "trace.json").at("updates");
  run.validations = read_json(run.folder / "valid.json").at("validations");
  // command: the program, the data path (data/..., which is the folder of the text), the flags.
  auto arguments = run.flags.at("command").get<std::vector<std::string>>();
  arguments.erase(arguments.begin());
  arguments[0] =
      (golden_text_dir() / std::filesystem::path(arguments[0]).lexically_relative("data")).string();
  OptionTable table("train", "");
  describe(table, run.options);
  table.parse(arguments);
  return run;
}

TensorMap to_our_names(const TensorMap& reference, const GoldenRun& run) {
  static const std::regex expert(R"((.*\.moe_layer\.experts)\.(\d+)\.(fc1|fc2)\.(weight|bias))");
  TensorMap ours;
  std::map<std::string, std::vector<torch::Tensor>> stacks;
  for (const auto& [name, tensor] : reference) {
    std::smatch match;
    if (run.flags.at("tied").contains(name) || name.find("_float_tensor") != std::string::npos ||
        name.find(".version") != std::string::npos) {
      continue;
    }
    if (std::regex_match(name, match, expert)) {
      const std::string layer = match[3] == "fc1" ? "1" : "2";
      auto& stack = stacks[match[1].str() + "." + (match[4] == "weight" ? "w" : "b") + layer];
      const auto index = std::stoul(match[2]);
      if (stack.size() <= index) stack.resize(index + 1);
      stack[index] = tensor;
    } else {
      ours[name] = tensor;
    }
  }
  for (const auto& [name, stack] : stacks) ours[name] = torch::stack(stack);
  return ours;
}

Batch stored_batch(const TensorMap& file, const std::string& prefix, bool masked) {
  const auto get = [&](const std::string& field) {
    return file.at(prefix + "." + field).to(torch::kLong).contiguous();
  };
  const auto values = [&](const torch::Tensor& t) {
    return std::vector<int64_t>(t.data_ptr<int64_t>(), t.data_ptr<int64_t>() + t.numel());
  };
  Batch batch;
  const auto source = get("src_tokens");
  batch.rows = source.size(0);
  batch.columns = source.size(1);
  batch.source = values(source);
  const auto target = get("target");
  batch.target_columns = target.size(1);
  batch.target = values(target);
  if (file.contains(prefix + ".prev_output_tokens"))
    batch.previous_output = values(get("prev_output_tokens"));
  batch.ids = values(get("id"));
  batch.lengths = values(get("src_lengths"));
  // Masked: every source token; else those that are predicted.
  const auto& counted = masked ? batch.source : batch.target;
  for (const auto token : counted) batch.tokens += token != Dictionary::kPad ? 1 : 0;
  return batch;
}

torch::Tensor golden_noise(const TensorMap& noise, int64_t update, int64_t micro_batch,
                           int64_t layer, int64_t rows, int64_t experts) {
  if (noise.empty()) return torch::zeros({rows, experts});
  return noise.at(
      fmt::format("u{:04}.m{}.decoder.layers.{}.moe_layer.gumbel", update, micro_batch, layer));
}

}  // namespace evomoe::testing
