#include "evomoe/cli/commands.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>
#include <system_error>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/base/nearest_name.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/command_tables.h"
#include "evomoe/parallel/process_group.h"
#include "evomoe/runtime/block_allocator.h"

#ifndef EVOMOE_VERSION
#error "EVOMOE_VERSION is set by the build"
#endif

namespace evomoe {
namespace {

std::string commands_overview() {
  std::string text =
      "evomoe trains sparse Mixture-of-Experts Transformers by evolution (arXiv "
      "2112.14397).\n\nusage: evomoe COMMAND [OPTIONS]   "
      "(evomoe COMMAND --help tells all of a command)\n\ncommands:\n";
  for (const auto& command : all_commands())
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
  const auto found = std::ranges::find(all_commands(), arguments[0], &Command::name);
  if (found == all_commands().end()) {
    std::vector<std::string> names;
    for (const auto& command : all_commands()) names.push_back(command.name);
    std::ranges::sort(names);
    auto all = names;
    all.insert(all.end(), {"--help", "--version"});
    const auto nearest = nearest_name(arguments[0], all);
    fail_usage("'{}' is no command{}; there are: {}", arguments[0],
               nearest.empty() ? "" : fmt::format(" (did you mean '{}'?)", nearest),
               fmt::join(names, ", "));
  }
  return found->run({arguments.begin() + 1, arguments.end()});
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

/// Says why the program ends, also to the other ranks of its run. Returns its exit code.
int end_with(const std::string& reason, int code) {
  fmt::print(stderr, "evomoe: {}\n", reason);
  std::fflush(stderr);
  if (code != kLostRanksExit) tell_other_ranks(reason);
  return code;
}

}  // namespace

int run_command_line(int argc, char** argv) {
  kernels::use_block_allocator();
  try {
    const int status = dispatch({argv + 1, argv + argc});
    flush_output();
    return status;
  } catch (const UsageError& error) {
    return end_with(error.what(), 2);
  } catch (const LostRanksError& error) {
    return end_with(error.what(), kLostRanksExit);
  } catch (const Error& error) {
    return end_with(error.what(), 1);
  } catch (const std::bad_alloc&) {
    return end_with(out_of_memory(argc > 1 ? argv[1] : ""), 1);
  } catch (const std::filesystem::filesystem_error& error) {
    return end_with(file_error(error), 1);
  } catch (const std::exception& error) {
    const auto text = first_line(error.what());
    const bool memory = text.find("can't allocate memory") != std::string::npos;  // LibTorch's
    return end_with(memory ? out_of_memory(argc > 1 ? argv[1] : "") : text, 1);
  }
}

}  // namespace evomoe
