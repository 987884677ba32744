#pragma once

#include <string>
#include <vector>

namespace evomoe {

/// Runs `evomoe <command> ...`. Exit codes: 0 done, 1 failed while running, 2 wrong use, 130/143
/// stopped by a signal after a checkpoint.
int run_command_line(int argc, char** argv);

}  // namespace evomoe
