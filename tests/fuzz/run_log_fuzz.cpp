// log.jsonl, read, gone on with, and drawn.
#include "evomoe/base/error.h"
#include "evomoe/report/run_history.h"
#include "evomoe/report/run_log.h"
#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

using nlohmann::ordered_json;
using testing::write_text;

std::vector<std::string> run_log_seeds(const std::filesystem::path& folder) {
  {
    auto log = RunLog::fresh(folder / "log.jsonl");
    log.append("train_inner", 5, {{"epoch", 1}, {"update", 0.25}, {"loss", "9.25"}});
    log.append("train_inner", 10, {{"epoch", 1}, {"update", 0.5}, {"loss", "inf"}});
    log.append(
        "valid", 10,
        {{"valid_loss", 8.5}, {"valid_perplexity", 362}, {"layers", {{{"load", {1, 2, 3}}}}}});
  }
  const auto text = testing::read_text(folder / "log.jsonl");
  return {text, text + text.substr(0, 30),
          R"({"tag": ["valid"], "completed_updates": 10})"
          "\n"};
}

void read_log(const std::filesystem::path& folder, const std::string& bytes) {
  const auto path = folder / "log.jsonl";
  write_text(path, bytes);
  const auto lines = read_run_log(path);
  for (const auto& line : lines) {
    for (const auto& [key, value] : line.items()) log_number(line, key);
  }
  const auto history = read_run_history(folder.string());
  training_points(history);
  stage_marks(history);
  for (const auto& subset : validated_subsets(history)) {
    try {
      validation_points(history, subset);
    } catch (const Error&) {  // of this subset alone
    }
  }
  auto log = RunLog::resume(path, /*resume_update=*/10);
  log.append("valid", 10, {{"valid_loss", "8.5"}});
  log.append("valid", 11, {{"valid_loss", "8.5"}});
  if (read_run_log(path).size() > lines.size() + 2) throw std::logic_error("lines were added");
}

const Registration registration("run_log", {run_log_seeds, read_log});

}  // namespace
}  // namespace evomoe::fuzz
