// Drop-upcycling of routing_methods.json, with its noise.
#include <gtest/gtest.h>

#include "evomoe/moe/diversify.h"
#include "tests/routing/golden_case.h"

namespace evomoe {
namespace {

TEST(DiversifyGolden, DropUpcyclingDrawsUnitsAgainAsTheReleasedCodeDoes) {
  const auto file = testing::read_json(testing::golden_dir() / "routing_methods.json");
  int count = 0;
  for (const auto& entry : file["cases"]) {
    if (entry["id"] != "drop_upcycling") continue;
    const auto& data = entry["data"];
    const auto unit =
        torch::tensor(entry["params"]["S"].get<std::vector<int64_t>>(), torch::kInt64);
    for (const std::string name : {"gate", "up", "down"}) {
      auto matrix = testing::json_matrix(data[name]),
           noise = testing::json_matrix(data["noise_" + name]),
           expected = testing::json_matrix(entry["expect"][name]);
      if (name == "down") matrix = matrix.t(), noise = noise.t(), expected = expected.t();
      EXPECT_LT(testing::deviation(redraw_rows(matrix, unit, noise), expected), 1e-8) << name;
      ++count;
    }
  }
  testing::expect_cases(count, 3);
}

}  // namespace
}  // namespace evomoe
