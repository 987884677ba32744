// A YAML file and a command line, an argument a line. What is accepted can be stored and written,
// and comes back the same.
#include <sstream>

#include "evomoe/base/error.h"
#include "evomoe/config/describe.h"
#include "evomoe/config/eval_bleu.h"
#include "evomoe/config/validate_options.h"
#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

using testing::write_text;

/// A table of `train` with its options.
struct Train {
  Train() { describe(table, options); }
  TrainOptions options;
  OptionTable table{"train", ""};
};

std::vector<std::string> config_seeds(const std::filesystem::path&) {
  Train train;
  train.table.parse({"data-bin", "--arch", "transformer_lm", "--moe-freq", "2", "--adam-betas",
                     "(0.9, 0.98)", "--lr", "0.1,0.2"});
  return {join({train.table.to_yaml(), "--max-update\n100\noptimization.lr=[0.5]"}),
          join({"task:\n  _name: language_modeling\n  data: ${common.tensorboard_logdir}\n"
                "common: &a {seed: 3}\ndistributed_training: *a\n"
                "defaults:\n  - model: transformer_lm/transformer_lm_gpt\n  - _self_\n",
                "x\n--fp16\n--update_freq=4\n+model.dropout=0.1\nhydra.run=x\n-h"}),
          join({"a: [b, {c: d}]\n? |\n  e\n: !!int 'x'\n", "--cpu\n--no-save\nTrue"}),
          join({"", "data\n--eval-bleu\n--eval-bleu-args\n{\"beam\": 4}"})};
}

void read_config(const std::filesystem::path& folder, const std::string& bytes) {
  const auto parts = split(bytes, 2);
  const auto file = folder / "config.yaml";
  write_text(file, parts[0]);
  std::vector<std::string> arguments = {"--config", file.string()};
  std::istringstream lines(parts[1]);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("--config")) arguments.push_back(line);  // another file
  }
  Train train;
  if (!train.table.parse(arguments)) return;
  Train stored;
  stored.table.from_json(train.table.to_json());
  if (stored.table.to_json() != train.table.to_json())
    throw std::logic_error("stored options come back as others");
  write_text(file, train.table.to_yaml());
  Train written;
  try {
    written.table.parse({"--config", file.string()});
  } catch (const Error& error) {
    throw std::logic_error(std::string("config.yaml cannot be read: ") + error.what());
  }
  if (written.table.to_json() != train.table.to_json())
    throw std::logic_error("config.yaml gives other options");
  validate_options(train.options);
  bleu_search(train.options.task.bleu);
}

const Registration registration("config", {config_seeds, read_config});

}  // namespace
}  // namespace evomoe::fuzz
