// Holds the direction of includes between rooms (docs/architecture.md): a room may include only
// rooms of the rows above it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Rooms = std::set<std::string>;

Rooms operator+(Rooms a, const Rooms& b) {
  a.insert(b.begin(), b.end());
  return a;
}

std::map<std::string, Rooms> allowed() {
  std::map<std::string, Rooms> may;
  may["base"] = {};
  for (const auto* room : {"runtime", "kernels", "config", "report"}) may[room] = {"base"};
  for (const auto* room : {"legacy", "text", "parallel"}) may[room] = {"base", "config"};
  may["page"] = {"base", "report"};
  may["score"] = {"base", "config", "text"};
  may["corpus"] = {"base", "config", "text"};
  may["data"] = {"base", "config", "legacy", "text", "corpus"};
  may["ops"] = {"base", "kernels"};
  may["routing"] = {"base", "config", "text", "parallel", "ops"};
  may["optim"] = {"base", "kernels", "config"};
  may["checkpoint"] = {"base", "config", "parallel"};
  may["fairseq"] = {"base", "checkpoint"};
  may["moe"] = may["routing"] + Rooms{"routing"};
  may["models"] = may["moe"] + Rooms{"moe"};
  may["train"] = may["models"] + Rooms{"models", "optim",  "checkpoint", "fairseq", "legacy",
                                       "text",   "corpus", "data",       "score",   "report"};
  may["loading"] = may["train"] + Rooms{"train"};
  may["hub"] = may["loading"] + Rooms{"loading"};
  may["generate"] = may["loading"] + Rooms{"loading", "runtime", "kernels"};
  may["run"] = may["generate"] + Rooms{"generate", "page"};
  may["bench"] = may["generate"] + Rooms{"generate"};
  may["compare"] = may["train"] + Rooms{"train", "runtime"};
  may["plan"] = may["train"] + Rooms{"train"};
  may["cli"] = may["run"] + Rooms{"run", "bench", "plan", "compare", "hub"};
  return may;
}

std::vector<std::string> violations(const std::filesystem::path& root) {
  static const std::regex include(R"(^\s*#\s*include\s+"evomoe/([a-z_]+)/.*)");
  const auto may = allowed();
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    const auto room = std::filesystem::relative(entry.path(), root).begin()->string();
    if (!may.contains(room)) {
      found.push_back(entry.path().string() + ": the room '" + room + "' has no row in this test");
      continue;
    }
    std::ifstream file(entry.path());
    std::string line;
    while (std::getline(file, line)) {
      std::smatch match;
      if (!std::regex_match(line, match, include)) continue;
      const auto other = match[1].str();
      if (other != room && !may.at(room).contains(other)) {
        found.push_back(entry.path().string() + " includes the room '" + other + "': " + line);
      }
    }
  }
  return found;
}

/// The lines of the files below `root` that have `word` outside of comments.
std::vector<std::string> uses(const std::filesystem::path& root, const std::string& word) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path());
    std::string line;
    while (std::getline(file, line)) {
      const auto at = line.find(word);
      if (at != std::string::npos && at < line.find("//"))
        found.push_back(entry.path().string() + ": " + line);
    }
  }
  return found;
}

TEST(Includes, GoOneWayBetweenRooms) {
  const auto found = violations(testing::source_dir() / "evomoe");
  for (const auto& violation : found) ADD_FAILURE() << violation;
}

TEST(Includes, AWrongDirectionIsSeen) {
  const testing::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "base");
  testing::write_text(folder / "base/x.h", "#include \"evomoe/models/gpt.h\"\n");
  EXPECT_EQ(violations(folder.path()).size(), 1U);
}

TEST(ParallelLoops, AreNeverLibTorchsWhichRunSeriallyUnderClang) {
  for (const auto& use : uses(testing::source_dir() / "evomoe", "at::parallel_for"))
    ADD_FAILURE() << use << " (use kernels::parallel_for, evomoe/kernels/parallel_for.h)";
}

TEST(ParallelLoops, AUseOfLibTorchsIsSeenAndACommentIsNot) {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "x.cpp",
                      "// not at::parallel_for\n  at::parallel_for(0, 1, 1, f);  // here\n");
  EXPECT_EQ(uses(folder.path(), "at::parallel_for").size(), 1U);
}

}  // namespace
}  // namespace evomoe
