#pragma once

#include <sys/types.h>

#include <csignal>
#include <string>
#include <utility>
#include <vector>

namespace evomoe {

/// Names and values for the environment.
using ProgramVariables = std::vector<std::pair<std::string, std::string>>;

/// Starts this program once more, in a process group of its own, with `variables` in its
/// environment and `signals` as its mask. It gets SIGTERM when this process ends. `output`: a file
/// that gets what it writes, at its end; empty: it goes where that of this process goes. Error:
/// there can be no further process, the file cannot be written.
pid_t start_program(const std::vector<std::string>& arguments, const ProgramVariables& variables,
                    const sigset_t& signals, const std::string& output = "");

}  // namespace evomoe
