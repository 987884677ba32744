#include "tests/fuzz/target.h"

#include "evomoe/base/error.h"

namespace evomoe::fuzz {
namespace {

constexpr const char* kBetween = "\n=====\n";

}  // namespace

std::map<std::string, Target>& targets() {
  static std::map<std::string, Target> all;
  return all;
}

void run(const Target& target, const std::filesystem::path& folder, const std::string& bytes) {
  const WatchFiles watch(folder);
  try {
    target.read(folder, bytes);
  } catch (const Error&) {
  }
}

std::string join(const std::vector<std::string>& parts) {
  std::string bytes;
  for (size_t i = 0; i < parts.size(); ++i) bytes += (i == 0 ? "" : kBetween) + parts[i];
  return bytes;
}

std::vector<std::string> split(const std::string& bytes, size_t count) {
  std::vector<std::string> parts(count);
  size_t begin = 0;
  for (auto& part : parts) {
    const size_t end = &part == &parts.back() ? std::string::npos : bytes.find(kBetween, begin);
    part = bytes.substr(begin, end == std::string::npos ? end : end - begin);
    if (end == std::string::npos) break;
    begin = end + std::string(kBetween).size();
  }
  return parts;
}

}  // namespace evomoe::fuzz
