#include "evomoe/cli/commands.h"

#include <fmt/ranges.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <system_error>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/base/nearest_name.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/command_tables.h"
#include "evomoe/config/describe.h"
#include "evomoe/runtime/block_allocator.h"

#ifndef EVOMOE_VERSION
#error "EVOMOE_VERSION is set by the build"
#endif

namespace evomoe {
namespace {

using Command = int (*)(const std::vector<std::string>&);

const std::map<std::string, Command>& commands() {
  static const std::map<std::string, Command> table = {
      {"preprocess", preprocess_command},
      {"bpe", bpe_command},
      {"train", train_command},
      {"validate", validate_command},
      {"eval-lm", eval_lm_command},
      {"generate", generate_command},
      {"interactive", interactive_command},
      {"score", score_command},
      {"convert", convert_command},
      {"info", info_command},
      {"compare", compare_command},
      {"plot", plot_command},
      {"bench", bench_command},
      {"options", options_command},
  };
  return table;
}

std::string commands_overview() {
  std::string text =
      "evomoe trains sparse Mixture-of-Experts Transformers by evolution (arXiv "
      "2112.14397).\n\nusage: evomoe COMMAND [OPTIONS]   "
      "(evomoe COMMAND --help tells all of a command)\n\ncommands:\n";
  for (const auto& command : command_summaries())
    text += fmt::format("  {:<12} {}\n", command.name, command.summary);
  text += "\n  --version    prints the version\n";
  return text;
}

int dispatch(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" ||
      arguments[0] == "help") {
    fmt::print("{}", commands_overview());
    return arguments.empty() ? 2 : 0;
  }
  if (arguments[0] == "--version") {
    fmt::print("evomoe {}\n", EVOMOE_VERSION);
    return 0;
  }
  const auto found = commands().find(arguments[0]);
  if (found == commands().end()) {
    std::vector<std::string> names;
    for (const auto& [name, command] : commands()) names.push_back(name);
    auto all = names;
    all.insert(all.end(), {"--help", "--version"});
    const auto nearest = nearest_name(arguments[0], all);
    fail_usage("'{}' is no command{}; there are: {}", arguments[0],
               nearest.empty() ? "" : fmt::format(" (did you mean '{}'?)", nearest),
               fmt::join(names, ", "));
  }
  return found->second({arguments.begin() + 1, arguments.end()});
}

/// With the options of the command that take less memory.
std::string out_of_memory(const std::string& command) {
  static const std::map<std::string, std::string> kRemedies = {
      {"max-tokens", "lower --max-tokens"},
      {"batch-size", "lower --batch-size"},
      {"checkpoint-activations", "give --checkpoint-activations"},
      {"decoder-embed-dim", "make the model smaller"}};
  std::string text = "out of memory: ";
  for (const auto& table : command_tables()) {
    if (table->command() != command) continue;
    for (const auto& option : table->options()) {
      if (const auto found = kRemedies.find(option->name()); found != kRemedies.end())
        text += found->second + ", ";
    }
  }
  return text + "free some, or use a larger machine";
}

/// What is still in a buffer may not fit on the disk.
void flush_output() {
  errno = 0;
  const bool written = std::cout.flush() && std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  EVOMOE_CHECK(written, "standard output cannot be written{}",
               errno == 0 ? "; the disk may be full" : std::string(": ") + std::strerror(errno));
}

std::string file_error(const std::filesystem::filesystem_error& error) {
  if (error.path1().empty()) return error.what();
  std::string remedy;
  if (error.code() == std::errc::permission_denied) remedy = "; check its permissions";
  for (const auto of_path :
       {std::errc::no_such_file_or_directory, std::errc::not_a_directory, std::errc::is_a_directory,
        std::errc::file_exists, std::errc::filename_too_long}) {
    if (error.code() == of_path) remedy = "; check the path";
  }
  if (error.code() == std::errc::no_space_on_device) remedy = "; free some space";
  return fmt::format("{}: {}{}", error.path1().string(), error.code().message(), remedy);
}

/// What a library threw, without its backtrace.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

int run_command_line(int argc, char** argv) {
  kernels::use_block_allocator();
  try {
    const int status = dispatch({argv + 1, argv + argc});
    flush_output();
    return status;
  } catch (const UsageError& error) {
    fmt::print(stderr, "evomoe: {}\n", error.what());
    return 2;
  } catch (const Error& error) {
    fmt::print(stderr, "evomoe: {}\n", error.what());
    return 1;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "evomoe: {}\n", out_of_memory(argc > 1 ? argv[1] : ""));
    return 1;
  } catch (const std::filesystem::filesystem_error& error) {
    fmt::print(stderr, "evomoe: {}\n", file_error(error));
    return 1;
  } catch (const std::exception& error) {
    const auto text = first_line(error.what());
    const bool memory = text.find("can't allocate memory") != std::string::npos;  // LibTorch's
    fmt::print(stderr, "evomoe: {}\n", memory ? out_of_memory(argc > 1 ? argv[1] : "") : text);
    return 1;
  }
}

}  // namespace evomoe
