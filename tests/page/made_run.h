#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <string>

#include "tests/testing/paths.h"

namespace evomoe {

/// A line of training as `evomoe train` writes it: the loss is 1000 / (100 + update), a second and
/// 100 tokens an update; two layers of four experts, of which the last is dead.
inline std::string training_line(int update, const std::string& more = "") {
  return fmt::format(
             R"({{"tag": "train_inner", "completed_updates": {0}, "loss": {1}, "wpb": 100.0, )"
             R"("gnorm": 1.5, "lr": 0.001, "wps": 95.5, "evolution": {{"temperature": {2}}}, )"
             R"("active_experts": 1.5, "routers": [{3}, {4}], "flops_per_token": 1e6, )"
             R"("ms_per_update": 30.0, "elapsed": {0}.0, "flops": {0}e8, )"
             R"("train_tokens": {0}00.0{5}}})",
             update, 1000.0 / (100 + update), 2.0 / update,
             R"({"layer": 1, "max_vio": 0.2, "entropy": 1.1, "dead_experts": 1, "load": [40, 40, 20, 0]})",
             R"({"layer": 3, "max_vio": 1.0, "entropy": 0.9, "dead_experts": 1, "load": [100, 50, 50, 0]})",
             more) +
         "\n";
}

inline std::string validation_line(int update, double perplexity) {
  return fmt::format(R"({{"tag": "valid", "completed_updates": {0}, "valid_loss": 3.5, )"
                     R"("valid_perplexity": {1}, "valid_elapsed": {0}.0, "valid_flops": {0}e8, )"
                     R"("valid_train_tokens": {0}00.0}})",
                     update, perplexity) +
         "\n";
}

/// 40 updates with a line every 10, a stage and two validations.
inline std::string made_log() {
  std::string log;
  for (int update = 10; update <= 40; update += 10) {
    if (update == 30)
      log += R"({"tag": "stage", "completed_updates": 25, "stage": "sparse"})"
             "\n";
    log += training_line(update);
    if (update % 20 == 0) log += validation_line(update, 60.0 - update / 2.0);
  }
  return log;
}

/// A run folder of that name.
inline void make_run(const std::filesystem::path& folder, const std::string& log = made_log(),
                     const std::string& config = "optimization:\n  lr: [0.001]\n") {
  std::filesystem::create_directories(folder);
  testing::write_text(folder / "log.jsonl", log);
  testing::write_text(folder / "config.yaml", config);
}

}  // namespace evomoe
