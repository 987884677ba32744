#include "tests/testing/paths.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace evomoe::testing {
namespace {

std::filesystem::path from_environment(const char* name, const std::filesystem::path& fallback) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::filesystem::path(value) : fallback;
}

}  // namespace

std::filesystem::path source_dir() { return EVOMOE_SOURCE_DIR; }

std::filesystem::path golden_dir() {
  return from_environment("EVOMOE_GOLDEN",
                          std::filesystem::path(EVOMOE_SOURCE_DIR) / "tests/golden");
}

std::filesystem::path golden_training_dir() { return golden_dir() / "training"; }

std::filesystem::path golden_text_dir() {
  return from_environment("EVOMOE_GOLDEN_TEXT", std::filesystem::path(EVOMOE_SOURCE_DIR) /
                                                    "../shared/golden/training/data");
}

std::filesystem::path data_dir() {
  return from_environment("EVOMOE_DATA",
                          std::filesystem::path(EVOMOE_SOURCE_DIR) / "../shared/data");
}

std::filesystem::path program() { return EVOMOE_PROGRAM; }

std::filesystem::path python() {
  return from_environment("EVOMOE_PYTHON",
                          std::filesystem::path(EVOMOE_SOURCE_DIR) / ".venv/bin/python");
}

bool has_transformers() {
  static const bool there =
      run_command(python().string() +
                  " -c 'import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, "
                  "(\"torch\", \"transformers\", \"safetensors\"))))'")
          .exit_code == 0;
  return there;
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot read " + path.string());
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

nlohmann::json read_json(const std::filesystem::path& path) {
  return nlohmann::json::parse(read_text(path));
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream stream(path, std::ios::binary);
  stream << text;
  if (!stream) throw std::runtime_error("cannot write " + path.string());
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "evomoe-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

CommandResult run_command(const std::string& command) {
  TemporaryFolder folder;
  const auto out = folder / "out";
  const auto err = folder / "err";
  const int status = std::system(
      ("{ " + command + "\n} >" + out.string() + " 2>" + err.string() + " </dev/null").c_str());
  CommandResult result;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = read_text(out);
  result.err = read_text(err);
  // Also where the test expects the command to fail.
  if (result.err.find("Sanitizer: ") != std::string::npos)
    ADD_FAILURE() << command << "\n" << result.err;
  return result;
}

}  // namespace evomoe::testing
