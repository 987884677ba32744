#include "evomoe/checkpoint/run_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "evomoe/checkpoint/checkpoint.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using nlohmann::json;

/// One in which every value differs from its default.
RunState some_state() {
  RunState state;
  state.config = {{"optimization", {{"lr", {0.5}}}}};
  state.updates = 7;
  state.data = {.epoch = 3, .offset = 2, .items = 40};
  state.evolution = {.stage = "dense-to-sparse",
                     .shared_expert = true,
                     .temperature = 1.25,
                     .hard = true,
                     .experts = 2};
  state.model = {.target = {20, "00ff"}, .source = {{30, "ff00"}}, .padding = 1};
  state.progress = {.seconds = 2.5,
                    .flops = 3e15,
                    .tokens = 4096,
                    .meters = {{"train", json::array({{{"key", "loss"}}})}}};
  state.patience = {.used = 2, .best = 3.5, .metric = "ppl"};
  state.saved = {.moment = {{.epoch = 3, .updates = 7, .end_of_epoch = true}},
                 .best_metric = "ppl",
                 .maximize_best = true,
                 .metric = 3.75,
                 .best = 3.5};
  return state;
}

const auto kOldCheckpoint = "checkpoints/0.1.0/run/checkpoint_last";

TEST(RunState, RoundTripsWithAndWithoutWhatMayBeAbsent) {
  auto state = some_state();
  EXPECT_EQ(from_sections(to_sections(state)), state);
  state.saved->moment.reset();
  state.saved->metric.reset();
  state.patience.best.reset();
  state.patience.metric.reset();
  state.model.source.reset();
  state.evolution.experts = 0;
  EXPECT_FALSE(to_sections(state)["evolution"].contains("experts"));
  EXPECT_EQ(from_sections(to_sections(state)), state);
  state.saved.reset();
  EXPECT_EQ(from_sections(to_sections(state)), state);
}

TEST(RunState, TheNamesInTheFileAreThoseOfVersion2) {
  const auto expected = json::parse(R"({
    "config": {"optimization": {"lr": [0.5]}},
    "counters": {"updates": 7},
    "data": {"epoch": 3, "offset": 2, "items": 40},
    "evolution": {"stage": "dense-to-sparse", "shared_expert": true, "temperature": 1.25,
                  "hard": true, "experts": 2},
    "model": {"vocabulary": 20, "dictionary": "00ff", "source_vocabulary": 30,
              "source_dictionary": "ff00", "padding": 1},
    "progress": {"seconds": 2.5, "flops": 3e15, "tokens": 4096.0,
                 "meters": {"train": [{"key": "loss"}]}},
    "patience": {"used": 2, "best": 3.5, "metric": "ppl"},
    "checkpoint": {"epoch": 3, "updates": 7, "end_of_epoch": true, "best_metric": "ppl",
                   "maximize_best": true, "metric": 3.75, "best": 3.5}
  })");
  EXPECT_EQ(to_sections(some_state()), expected);
}

TEST(RunState, EverySectionButTheManagersMustBeThere) {
  const auto sections = to_sections(some_state());
  for (const auto& [name, section] : sections.items()) {
    auto lacking = sections;
    lacking.erase(name);
    if (name == "checkpoint") {
      EXPECT_FALSE(from_sections(lacking).saved.has_value());
    } else {
      EXPECT_THROW(from_sections(lacking), json::exception) << name;
    }
  }
}

TEST(RunState, ANumberThatIsWrittenAsNullIsNone) {
  auto state = some_state();
  state.saved->metric = state.patience.best = std::numeric_limits<double>::quiet_NaN();
  const auto read = from_sections(json::parse(to_sections(state).dump()));
  EXPECT_FALSE(read.saved->metric.has_value());
  EXPECT_FALSE(read.patience.best.has_value());
}

TEST(RunState, ACheckpointOf010IsReadAndWrittenAsItIs) {
  const auto path = testing::golden_dir() / kOldCheckpoint;
  const auto state = read_state(path);
  EXPECT_EQ(state.updates, 12);
  EXPECT_EQ(state.data, (DataPosition{.epoch = 1, .offset = 12, .items = 54}));
  EXPECT_EQ(
      state.evolution,
      (EvolutionRecord{
          .stage = "dense-to-sparse", .shared_expert = false, .temperature = 1.32, .hard = false}));
  const DictionaryRecord dictionary = {.size = 24, .checksum = "5e308d0815d350da"};
  EXPECT_EQ(state.model, (ModelRecord{.target = dictionary, .source = dictionary, .padding = 1}));
  EXPECT_EQ(state.progress.flops, 6881280.0);
  EXPECT_EQ(state.progress.tokens, 768.0);
  EXPECT_GT(state.progress.seconds, 0);
  EXPECT_EQ(state.progress.meters.size(), 2U);
  EXPECT_EQ(state.patience, (PatienceRecord{.used = 2, .best = 6.171, .metric = "loss"}));
  EXPECT_EQ(state.saved, (SaveRecord{.moment = {{.epoch = 1, .updates = 12, .end_of_epoch = false}},
                                     .best_metric = "loss",
                                     .maximize_best = true,
                                     .metric = 6.086,
                                     .best = 6.086}));
  EXPECT_EQ(to_sections(state), testing::read_json(path / "manifest.json").at("sections"));
}

}  // namespace
}  // namespace evomoe
