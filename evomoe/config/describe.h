#pragma once

#include <string>

#include "evomoe/config/option_table.h"
#include "evomoe/config/options.h"

namespace evomoe {

// Each binds a command's options to the table. The options must outlive the table.
void describe(OptionTable& table, TrainOptions& options);
void describe_validate(OptionTable& table, EvalOptions& options);
void describe_eval_lm(OptionTable& table, EvalOptions& options);
void describe(OptionTable& table, GenerateOptions& options);
void describe(OptionTable& table, InteractiveOptions& options);
void describe(OptionTable& table, ScoreOptions& options);
void describe(OptionTable& table, PreprocessFlags& options);
void describe(OptionTable& table, BpeFlags& options);
void describe(OptionTable& table, ConvertOptions& options);
void describe(OptionTable& table, InfoOptions& options);
void describe(OptionTable& table, CompareOptions& options);
void describe(OptionTable& table, PlotOptions& options);

/// The content of docs/options.md: every option of every command.
std::string options_markdown();

/// A command of the program and its one-line summary, in the order of the help.
struct CommandSummary {
  std::string name, summary;
};
const std::vector<CommandSummary>& command_summaries();

/// The summary of a command of command_summaries().
std::string command_summary(const std::string& name);

}  // namespace evomoe
