// The reference's own log lines, made anew from what it recorded for each single update.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "evomoe/report/log_line.h"
#include "evomoe/report/meters.h"
#include "evomoe/report/run_log.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

struct RecordedLine {
  std::string tag;
  ordered_json line;
  std::string text;  // as it was printed
};

std::vector<RecordedLine> recorded_lines(const std::filesystem::path& folder) {
  std::vector<RecordedLine> lines;
  std::ifstream file(folder / "log.jsonl");
  for (std::string text; std::getline(file, text);) {
    const auto parsed = ordered_json::parse(text);
    const std::string key = "\"line\": ";
    const size_t begin = text.find(key) + key.size();
    lines.push_back({parsed["tag"], parsed["line"], text.substr(begin, text.size() - begin - 1)});
  }
  return lines;
}

std::vector<std::filesystem::path> cases() {
  std::vector<std::filesystem::path> folders;
  if (!std::filesystem::exists(testing::golden_training_dir())) return folders;
  for (const auto& entry : std::filesystem::directory_iterator(testing::golden_training_dir())) {
    if (std::filesystem::exists(entry.path() / "log.jsonl")) folders.push_back(entry.path());
  }
  return folders;
}

TEST(RecordedLog, EveryLineIsPrintedByteForByte) {
  if (cases().empty()) GTEST_SKIP() << testing::golden_training_dir() << " is not there";
  int count = 0;
  for (const auto& folder : cases()) {
    for (const auto& recorded : recorded_lines(folder)) {
      const auto& line = recorded.line;
      LogLine ours(line["epoch"].get<int64_t>(),
                   line.contains("update") ? std::optional<double>(line["update"].get<double>())
                                           : std::nullopt);
      for (const auto& [key, value] : line.items()) {
        if (value.is_string()) ours.add(key, std::stod(value.get<std::string>()), 10);
      }
      EXPECT_EQ(ours.json_text(), recorded.text) << folder;
      ++count;
    }
  }
  EXPECT_GT(count, 0);
}

/// Logs one recorded update as a trainer does.
void log_update(Metrics& metrics, const json& update, double next_lr, double clip_norm) {
  double tokens = 0, sequences = 0;
  for (const auto& micro : update["micro"]) {
    tokens += micro["ntokens"].get<double>();
    sequences += micro["nsentences"].get<double>();
  }
  const double weight = update["sample_size"];
  metrics.log([&](MeterGroup& group) {
    group.scalar("loss", update["loss_sum"].get<double>() / weight / std::log(2.0), weight, 10, 3);
    if (update.contains("moe_gate_loss"))
      group.scalar("moe_gate_loss", update["moe_gate_loss"], weight, 10, 8);
    if (update.contains("gumbel_avg_experts")) {
      group.scalar("gumbel_avg_experts", update["gumbel_avg_experts"], weight, 10, 3);
    }
    group.derived("ppl", "loss", perplexity, 20, 2);
    group.scalar("wpb", tokens, 1, 180, 1);
    group.scalar("bsz", sequences, 1, 190, 1);
    group.scalar("num_updates", update["update"], 0, 200);
    group.scalar("lr", next_lr, 0, 300);
    group.scalar("gnorm", update["gnorm"], 1, 400, 3);
    group.scalar("clip", update["gnorm"].get<double>() > clip_norm ? 100 : 0, 1, 500, 1);
  });
}

TEST(RecordedLog, MetersGiveTheReferencesAverages) {
  if (cases().empty()) GTEST_SKIP() << testing::golden_training_dir() << " is not there";
  int compared = 0;
  for (const auto& folder : cases()) {
    const auto command =
        testing::read_json(folder / "flags.json")["command"].get<std::vector<std::string>>();
    if (std::find(command.begin(), command.end(), "language_modeling") == command.end()) continue;
    const double clip_norm =
        std::stod(*(std::find(command.begin(), command.end(), "--clip-norm") + 1));
    std::map<int64_t, ordered_json> inner;
    std::map<int64_t, ordered_json> epoch_end;
    for (const auto& recorded : recorded_lines(folder)) {
      if (recorded.tag == "train_inner")
        inner[std::stoll(recorded.line["num_updates"].get<std::string>())] = recorded.line;
      if (recorded.tag == "train") epoch_end[recorded.line["epoch"].get<int64_t>()] = recorded.line;
    }
    const auto compare = [&](const std::string& group, const std::string& prefix,
                             const ordered_json& expected, Metrics& metrics, bool lr_known) {
      LogLine line;
      metrics.group(group).write(line);
      const auto values = line.to_json();
      for (const auto& [key, value] : values.items()) {
        if (!lr_known && key == "lr") continue;
        // With a gate loss the reference takes the perplexity from the loss without it, which is
        // not logged here.
        if (key == "ppl" && expected.contains(prefix + "inner_loss")) continue;
        ASSERT_TRUE(expected.contains(prefix + key)) << folder << ' ' << prefix + key;
        // The reference sums this one in float32, which decides ties of the sixth digit otherwise.
        if (key == "moe_gate_loss") {
          const double wanted = log_number(expected, prefix + key).value();
          EXPECT_NEAR(log_number(values, key).value(), wanted, 6e-6 * wanted) << folder;
          ++compared;
          continue;
        }
        EXPECT_EQ(value, expected[prefix + key])
            << folder << ' ' << group << ' ' << key << ' ' << expected.dump();
        ++compared;
      }
    };

    const auto updates = testing::read_json(folder / "trace.json")["updates"];
    Metrics metrics;
    for (size_t i = 0; i < updates.size(); ++i) {
      const bool last = i + 1 == updates.size();
      {
        const auto epoch = metrics.aggregate("train");
        const auto since_line = metrics.aggregate("train_inner");
        log_update(metrics, updates[i], last ? 0.0 : updates[i + 1]["lr"].get<double>(), clip_norm);
      }
      const int64_t number = updates[i]["update"];
      if (inner.count(number) != 0) {
        compare("train_inner", "", inner[number], metrics, !last);
        metrics.group("train_inner").reset();
      }
      const int64_t epoch = updates[i]["epoch"];
      if (last || updates[i + 1]["epoch"] != epoch) {
        if (epoch_end.count(epoch) != 0)
          compare("train", "train_", epoch_end[epoch], metrics, !last);
        metrics.group("train").reset();
      }
    }
  }
  RecordProperty("compared_values", compared);
  EXPECT_GT(compared, 0);
}

}  // namespace
}  // namespace evomoe
