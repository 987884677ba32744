#pragma once

#include <memory>
#include <string>
#include <vector>

#include "evomoe/config/option_table.h"

/// The commands of the program, one file each; `arguments` are those after the command's name. They
/// return the exit code.
namespace evomoe {

int preprocess_command(const std::vector<std::string>& arguments);
int bpe_command(const std::vector<std::string>& arguments);
int train_command(const std::vector<std::string>& arguments);
int validate_command(const std::vector<std::string>& arguments);
int eval_lm_command(const std::vector<std::string>& arguments);
int generate_command(const std::vector<std::string>& arguments);
int interactive_command(const std::vector<std::string>& arguments);
int score_command(const std::vector<std::string>& arguments);
int convert_command(const std::vector<std::string>& arguments);
int info_command(const std::vector<std::string>& arguments);
int compare_command(const std::vector<std::string>& arguments);
int plan_command(const std::vector<std::string>& arguments);
int report_command(const std::vector<std::string>& arguments);
int plot_command(const std::vector<std::string>& arguments);
int bench_command(const std::vector<std::string>& arguments);
int options_command(const std::vector<std::string>& arguments);

/// A command of the program and its one-line summary.
struct Command {
  std::string name, summary;
  int (*run)(const std::vector<std::string>& arguments);
};

/// All commands, in the order of the help.
const std::vector<Command>& all_commands();

/// The summary of a command.
std::string command_summary(const std::string& name);

/// The option tables of the benchmarks, each a command `bench NAME`.
std::vector<std::shared_ptr<const OptionTable>> benchmark_tables();

}  // namespace evomoe
