#include "evomoe/report/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/report/log_line.h"

namespace evomoe {
namespace {

using nlohmann::ordered_json;

constexpr const char* kUpdateKey = "completed_updates";

/// Checks the types of `tag` and `completed_updates`, if present.
bool has_right_types(const ordered_json& line) {
  const auto tag = line.find("tag"), update = line.find(kUpdateKey);
  return (tag == line.end() || tag->is_string()) &&
         (update == line.end() || update->is_number_integer());
}

struct StoredLine {
  std::string text;
  ordered_json value;
};

/// `cut` is set when the last line is not complete.
std::vector<StoredLine> read_lines(const std::filesystem::path& path, bool* cut = nullptr) {
  std::ifstream file(path, std::ios::binary);
  EVOMOE_CHECK(file.is_open(), "{}: cannot be read: {}", path.string(), std::strerror(errno));
  std::vector<StoredLine> lines;
  std::string text;
  for (size_t number = 1; std::getline(file, text); ++number) {
    const auto place = fmt::format("{}:{}", path.string(), number);
    if (auto value = parse_log_line(text, place)) {
      lines.push_back({std::move(text), std::move(*value)});
      continue;
    }
    if (file.peek() != std::ifstream::traits_type::eof()) fail_damaged_log(place);
    if (cut != nullptr) *cut = true;
  }
  return lines;
}

int64_t updates_of(const ordered_json& line, const std::filesystem::path& path) {
  const auto found = line.find(kUpdateKey);
  EVOMOE_CHECK(found != line.end() && found->is_number_integer(),
               "{}: a line has no integer '{}'; this is not the log of an evomoe run, move it away",
               path.string(), kUpdateKey);
  return found->get<int64_t>();
}

int open_file(const std::filesystem::path& path, int flags) {
  const int descriptor =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | flags, 0644);
  EVOMOE_CHECK(descriptor >= 0, "{}: cannot be written: {}; check the run folder (--save-dir)",
               path.string(), std::strerror(errno));
  return descriptor;
}

void write_all(int descriptor, const std::string& text, const std::filesystem::path& path) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(descriptor, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    EVOMOE_CHECK(count > 0, "{}: cannot be written: {}; is the disk full?", path.string(),
                 std::strerror(errno));
    done += static_cast<size_t>(count);
  }
}

}  // namespace

RunLog RunLog::fresh(const std::filesystem::path& path) { return {path, open_file(path, O_TRUNC)}; }

RunLog RunLog::resume(const std::filesystem::path& path, int64_t resume_update) {
  if (!std::filesystem::exists(path)) return fresh(path);
  std::string kept;
  std::set<std::string> written;
  for (const auto& line : read_lines(path)) {
    const int64_t update = updates_of(line.value, path);
    if (update > resume_update) continue;
    if (update == resume_update) written.insert(line.value.value("tag", ""));
    kept += line.text + "\n";
  }
  // By way of a second file, so that a crash leaves either the old log or the new one.
  const std::filesystem::path temporary = path.string() + ".tmp";
  {
    RunLog copy(temporary, open_file(temporary, O_TRUNC));
    write_all(copy.descriptor_, kept, temporary);
    EVOMOE_CHECK(::fsync(copy.descriptor_) == 0, "{}: cannot be written: {}", temporary.string(),
                 std::strerror(errno));
  }
  std::filesystem::rename(temporary, path);
  RunLog log(path, open_file(path, 0));
  log.resume_update_ = resume_update;
  log.written_ = std::move(written);
  return log;
}

RunLog::~RunLog() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

RunLog::RunLog(RunLog&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      resume_update_(other.resume_update_),
      written_(std::move(other.written_)) {}

RunLog& RunLog::operator=(RunLog&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(resume_update_, other.resume_update_);
  std::swap(written_, other.written_);
  return *this;
}

bool RunLog::append(const std::string& tag, int64_t update, const ordered_json& record) {
  if (update == resume_update_ && written_.count(tag) != 0) return false;
  ordered_json line = {{"tag", tag}, {kUpdateKey, update}};
  for (const auto& [key, value] : record.items()) {
    EVOMOE_CHECK(!line.contains(key),
                 "run log: a record of '{}' may not have the key '{}', which every line has", tag,
                 key);
    line[key] = value;
  }
  write_all(descriptor_, python_json(line) + "\n", path_);
  return true;
}

std::vector<ordered_json> read_run_log(const std::filesystem::path& path, bool* cut) {
  std::vector<ordered_json> values;
  for (auto& line : read_lines(path, cut)) values.push_back(std::move(line.value));
  return values;
}

std::optional<ordered_json> parse_log_line(const std::string& text, const std::string& place) {
  auto value = parse_json<ordered_json>(text);
  if (!value.is_object()) return std::nullopt;
  EVOMOE_CHECK(
      has_right_types(value),
      "{}: its 'tag' is not a string or its '{}' is not an integer; this is not the log of "
      "an evomoe run, move it away",
      place, kUpdateKey);
  return value;
}

void fail_damaged_log(const std::string& place) {
  fail("{}: not a JSON object; the file is damaged, move it away to start a new one", place);
}

std::optional<double> log_number(const ordered_json& line, const std::string& key) {
  const auto found = line.find(key);
  if (found == line.end()) return std::nullopt;
  if (found->is_number()) return found->get<double>();
  if (!found->is_string()) return std::nullopt;
  const auto& text = found->get_ref<const std::string&>();
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0') return std::nullopt;
  return value;
}

}  // namespace evomoe
