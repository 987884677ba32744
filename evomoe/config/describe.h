#pragma once

#include <memory>
#include <string>
#include <vector>

#include "evomoe/config/option_table.h"
#include "evomoe/config/options.h"

namespace evomoe {

// Each binds a command's options to the table, which they must outlive. That of train is in
// train/options.h.
void describe(OptionTable& table, ScoreOptions& options);
void describe(OptionTable& table, PreprocessFlags& options);
void describe(OptionTable& table, BpeFlags& options);
void describe(OptionTable& table, ConvertOptions& options);
void describe(OptionTable& table, InfoOptions& options);
void describe(OptionTable& table, CompareOptions& options);
void describe(OptionTable& table, PlotOptions& options);
void describe(OptionTable& table, OptionsFlags& options);

// The same of commands that read a checkpoint, without the flags of training that they ignore:
// generate/evaluation_options.h adds these.
void describe_own_validate(OptionTable& table, EvalOptions& options);
void describe_own_eval_lm(OptionTable& table, EvalOptions& options);
void describe_own(OptionTable& table, GenerateOptions& options);
void describe_own(OptionTable& table, InteractiveOptions& options);

/// A command's table that owns what it fills.
template <typename Options, typename Describe>
std::shared_ptr<const OptionTable> make_table(const std::string& command,
                                              const std::string& summary, Describe describe_into) {
  struct Both {
    Options options;
    OptionTable table;
  };
  const auto both = std::shared_ptr<Both>(new Both{{}, {command, summary}});
  describe_into(both->table, both->options);
  return {both, &both->table};
}

/// The content of docs/options.md: every option of the commands of `tables`.
std::string options_markdown(const std::vector<std::shared_ptr<const OptionTable>>& tables);

/// A command of the program and its one-line summary, in the order of the help.
struct CommandSummary {
  std::string name, summary;
};
const std::vector<CommandSummary>& command_summaries();

/// The summary of a command of command_summaries().
std::string command_summary(const std::string& name);

}  // namespace evomoe
