#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace evomoe::testing {

/// The checkout.
std::filesystem::path source_dir();

/// Folder of the golden vectors: EVOMOE_GOLDEN, default tests/golden.
std::filesystem::path golden_dir();

/// Folder of the recorded whole training runs: golden_dir()/training. EVOMOE_GOLDEN may name a
/// folder without it; a test of them then skips and says so.
std::filesystem::path golden_training_dir();

/// The text that those runs were trained on, which is other people's and never committed:
/// EVOMOE_GOLDEN_TEXT, default ../shared/golden/training/data beside the checkout. It may not
/// exist; a test that needs it then skips and says so.
std::filesystem::path golden_text_dir();

/// Folder of real text: EVOMOE_DATA, default ../shared/data beside the checkout. It may not exist.
std::filesystem::path data_dir();

/// The program under test, build/<preset>/evomoe.
std::filesystem::path program();

/// A Python that may have torch: EVOMOE_PYTHON, default .venv/bin/python of the checkout.
std::filesystem::path python();

/// Whether it has what models of Hugging Face need: torch, transformers and safetensors. Without
/// the seconds that importing them takes.
bool has_transformers();

nlohmann::json read_json(const std::filesystem::path& path);

std::string read_text(const std::filesystem::path& path);
void write_text(const std::filesystem::path& path, const std::string& text);

/// A fresh temporary folder that is removed, with its content, at the end of the scope.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// The result of a command that was run by a shell.
struct CommandResult {
  int exit_code = 0;
  std::string out;  ///< stdout
  std::string err;  ///< stderr
};

/// Runs `command` (a shell line) and waits for it. A sanitizer's report in its stderr fails the
/// test, whatever is expected of the command.
CommandResult run_command(const std::string& command);

}  // namespace evomoe::testing
