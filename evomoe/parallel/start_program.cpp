#include "evomoe/parallel/start_program.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "evomoe/base/error.h"

namespace evomoe {

pid_t start_program(const std::vector<std::string>& arguments, const ProgramVariables& variables,
                    const sigset_t& signals, const std::string& output) {
  // Made before fork(): behind it, in a program with threads, nothing may be allocated.
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const bool is_set_anew =
        std::any_of(variables.begin(), variables.end(),
                    [&](const auto& variable) { return text.starts_with(variable.first + "="); });
    if (!is_set_anew) environment.push_back(text);
  }
  for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
  std::vector<char*> argv, envp;
  auto owned = arguments;
  std::string program = "evomoe";
  argv.push_back(program.data());
  for (auto& argument : owned) argv.push_back(argument.data());
  argv.push_back(nullptr);
  for (auto& entry : environment) envp.push_back(entry.data());
  envp.push_back(nullptr);
  const int file =
      output.empty() ? -1 : open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  EVOMOE_CHECK(output.empty() || file >= 0, "cannot write {}: {}", output, std::strerror(errno));
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child != 0 && file >= 0) close(file);
  EVOMOE_CHECK(child >= 0, "cannot start a process: {}", std::strerror(errno));
  if (child > 0) return child;
  setpgid(0, 0);  // the terminal's signals come to the parent, which passes them on
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);
  if (file >= 0) {
    dup2(file, STDOUT_FILENO);
    dup2(file, STDERR_FILENO);
  }
  sigprocmask(SIG_SETMASK, &signals, nullptr);
  execve("/proc/self/exe", argv.data(), envp.data());
  _exit(127);
}

}  // namespace evomoe
