// The temperatures of the authors' trainer: data.json, "temperature".
#include <gtest/gtest.h>

#include "evomoe/moe/evolution.h"
#include "tests/routing/golden_case.h"

namespace evomoe {
namespace {

TEST(EvolutionGolden, TemperaturesAreTheReferences) {
  const auto file = testing::read_json(testing::golden_dir() / "data.json")["temperature"];
  EvolutionOptions options;
  options.use_gumbel_softmax = true;
  options.max_temperature = 2.0;
  options.min_temperature = 0.5;
  options.gumbel_decay_factor = 5000;
  int count = 0;
  for (const auto& [name, decay] :
       {std::pair{"linear_2_05_5000", "Linear"}, std::pair{"exp_2_05_5000", "Exp"}}) {
    options.gumbel_decay_scheduler = decay;
    for (const auto& [updates, expected] : file[name].items()) {
      const auto state = stage_at(options, std::stoll(updates));
      EXPECT_NEAR(state.schedule.temperature, expected.get<double>(), 1e-12) << name << updates;
      ++count;
    }
  }
  testing::expect_cases(count, 14);
}

}  // namespace
}  // namespace evomoe
