#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace evomoe::fuzz {

/// A reader of files that is fed with bytes. Each target is a libFuzzer program (`make fuzz`), and
/// all are part of the tests (mutations_test.cpp).
struct Target {
  /// Small sound files as the project's own writers make them, and files that were once read
  /// wrongly. `folder` is empty and may be used.
  std::vector<std::string> (*seeds)(const std::filesystem::path& folder);
  /// Reads `bytes` as a file in `folder`. It may throw Error and nothing else, and touch no file
  /// outside of `folder`.
  void (*read)(const std::filesystem::path& folder, const std::string& bytes);
};

/// The targets of the program, by name.
std::map<std::string, Target>& targets();

/// Makes a target known.
struct Registration {
  Registration(const std::string& name, const Target& target) { targets()[name] = target; }
};

/// Runs the target. An Error is what a bad file shall give; every other exception leaves this.
void run(const Target& target, const std::filesystem::path& folder, const std::string& bytes);

// --- several files in one input ---

/// The texts with a line between them that split() finds.
std::string join(const std::vector<std::string>& parts);

/// The first `count` parts of what join() made; those that are not there are empty.
std::vector<std::string> split(const std::string& bytes, size_t count);

// --- watch_files.cpp ---

/// While one lives, the program ends with a message when it opens, makes, renames or removes a file
/// outside of `folder`; what the machine is (/proc, /sys) and shared libraries are free.
class WatchFiles {
 public:
  explicit WatchFiles(const std::filesystem::path& folder);
  ~WatchFiles();
  WatchFiles(const WatchFiles&) = delete;
  WatchFiles& operator=(const WatchFiles&) = delete;
};

}  // namespace evomoe::fuzz
