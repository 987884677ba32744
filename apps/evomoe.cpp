#include "evomoe/cli/commands.h"

int main(int argc, char** argv) { return evomoe::run_command_line(argc, argv); }
