#include "evomoe/report/time_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace evomoe {
namespace {

TimeSummary example() {
  TimeSummary summary;
  summary.updates = 5;
  summary.last_update = 8;
  summary.ms = 100;
  summary.parts = {{{}, 1, 1, 0},
                   {{"data wait"}, 2, 1, 0},
                   {{"forward"}, 3, 1, 0},
                   {{"forward", "embedding"}, 4, 1, 0},
                   {{"forward", "layer.0"}, 5, 1, 0},
                   {{"forward", "layer.0", "attention"}, 10, 1, 0},
                   {{"forward", "layer.1"}, 5, 1, 0},
                   {{"forward", "layer.1", "experts"}, 10, 1, 0},
                   {{"backward"}, 6, 1, 0},
                   {{"backward", "layer.0"}, 14, 0, 7},
                   {{"backward", "layer.1", "experts"}, 40, 0, 1}};
  return summary;
}

TEST(TimeSummary, TheTablesShowEachPartWithItsShareAndTheRestByName) {
  EXPECT_EQ(time_text(example()),
            "part         ms/update   share  calls  nodes\n"
            "-----------  ---------  ------  -----  -----\n"
            "data wait         2.00    2.0%      1\n"
            "forward          37.00   37.0%      1\n"
            "  embedding       4.00    4.0%      1\n"
            "  layers         30.00   30.0%      2\n"
            "  rest            3.00    3.0%\n"
            "backward         60.00   60.0%      1      8\n"
            "  layers         54.00   54.0%             8\n"
            "  rest            6.00    6.0%\n"
            "rest              1.00    1.0%\n"
            "update          100.00  100.0%      1      8\n"
            "\n"
            "ms/update  forward  backward  attention  experts   rest\n"
            "---------  -------  --------  ---------  -------  -----\n"
            "layer.0      15.00     14.00      10.00     0.00  19.00\n"
            "layer.1      15.00     40.00       0.00    50.00   5.00\n"
            "all          30.00     54.00      10.00    50.00  24.00\n");
}

TEST(TimeSummary, JsonHasEachPartOnce) {
  const auto json = time_json(example());
  EXPECT_EQ(json.at("updates"), 5);
  double sum = 0;
  for (const auto& part : json.at("parts")) sum += part.at("ms").get<double>();
  EXPECT_DOUBLE_EQ(sum, json.at("ms").get<double>());
  EXPECT_EQ(json.at("parts").at(7).at("part"), "forward/layer.1/experts");
}

}  // namespace
}  // namespace evomoe
