#include "evomoe/report/event_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/report/protobuf.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kBeginning = "events.out.tfevents.", kEnding = ".evomoe";

// Fields of event.proto's Event.
constexpr uint32_t kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
    table[byte] = crc;
  }
  return table;
}

/// The checksum that a TFRecord has: of CRCs in data that is checksummed again.
uint32_t masked_crc(std::string_view bytes) {
  const auto crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8;
}

template <typename T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

std::string record_of(const std::string& event) {
  const uint64_t length = event.size();
  const auto length_crc = masked_crc(bytes_of(length)), crc = masked_crc(event);
  std::string record(bytes_of(length));
  return record.append(bytes_of(length_crc)).append(event).append(bytes_of(crc));
}

/// Takes values off the front of bytes; nothing where they end too early.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  bool done() const { return bytes_.empty(); }
  size_t left() const { return bytes_.size(); }

  template <typename T>
  std::optional<T> raw() {
    const auto taken = take(sizeof(T));
    if (!taken) return std::nullopt;
    T value;
    std::memcpy(&value, taken->data(), sizeof(T));
    return value;
  }
  std::optional<std::string_view> take(uint64_t count) {
    if (count > bytes_.size()) return std::nullopt;
    const auto taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  std::optional<uint64_t> varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = raw<unsigned char>();
      if (!byte) return std::nullopt;
      value |= uint64_t{*byte & 0x7FU} << shift;
      if (*byte < 0x80) return value;
    }
    return std::nullopt;
  }

 private:
  std::string_view bytes_;
};

struct EventHead {
  int64_t step = 0;
  bool has_summary = false;
};

/// Nothing: these are not the bytes of an event.
std::optional<EventHead> read_head(std::string_view event) {
  EventHead head;
  Reader reader(event);
  while (!reader.done()) {
    const auto key = reader.varint();
    if (!key) return std::nullopt;
    const auto field = *key >> 3;
    bool complete = false;
    switch (*key & 7) {
      case 0:
        if (const auto value = reader.varint()) {
          complete = true;
          if (field == kStep) head.step = static_cast<int64_t>(*value);
        }
        break;
      case 1:
        complete = reader.take(8).has_value();
        break;
      case 2:
        if (const auto length = reader.varint()) complete = reader.take(*length).has_value();
        head.has_summary = head.has_summary || field == kSummary;
        break;
      case 5:
        complete = reader.take(4).has_value();
        break;
      default:
        break;
    }
    if (!complete) return std::nullopt;
  }
  return head;
}

std::vector<fs::path> event_files(const fs::path& folder, bool ours) {
  std::vector<fs::path> files;
  if (!fs::is_directory(folder)) return files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (name.find("tfevents") == std::string::npos) continue;  // as TensorBoard sees it
    if ((name.starts_with(kBeginning) && name.ends_with(kEnding)) == ours)
      files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

/// As cut_event_files(), of one file.
void cut_event_file(const fs::path& path, int64_t resume_update) {
  std::ifstream file(path, std::ios::binary);
  EVOMOE_CHECK(file.is_open(), "{}: cannot be read: {}", path.string(), std::strerror(errno));
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  Reader reader(bytes);
  size_t kept = 0;
  while (!reader.done()) {
    const auto length = reader.raw<uint64_t>();
    const auto length_crc = reader.raw<uint32_t>();
    if (!length || !length_crc) break;
    const auto check = [&](bool sound) {
      EVOMOE_CHECK(sound,
                   "{}: the event at byte {} is damaged; move the file away, and begin again",
                   path.string(), kept);
    };
    check(masked_crc(bytes_of(*length)) == *length_crc);
    const auto event = reader.take(*length);
    const auto crc = reader.raw<uint32_t>();
    if (!event || !crc) break;
    check(masked_crc(*event) == *crc);
    const auto head = read_head(*event);
    check(head.has_value());
    if (head->has_summary && head->step > resume_update) break;
    kept = bytes.size() - reader.left();
  }
  if (kept < bytes.size()) fs::resize_file(path, kept);
}

fs::path new_file(const fs::path& folder) {
  fs::create_directories(folder);
  std::array<char, HOST_NAME_MAX + 1> host{};
  ::gethostname(host.data(), host.size() - 1);
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  // TensorBoard reads the files of a folder in the order of their names.
  return folder / fmt::format("{}{:010}.{:06}.{}.{}{}", kBeginning, now / 1'000'000,
                              now % 1'000'000, host.data(), ::getpid(), kEnding);
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = crc_table();
  uint32_t crc = ~uint32_t{0};
  for (const char byte : bytes)
    crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFF] ^ crc >> 8;
  return ~crc;
}

EventFile::EventFile(const fs::path& folder, int64_t resume_update) : path_(new_file(folder)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  EVOMOE_CHECK(descriptor_ >= 0, "{}: cannot be written: {}; check --tensorboard-logdir",
               path_.string(), std::strerror(errno));
  write_event(0, ProtobufMessage().bytes(kFileVersion, "brain.Event:2").text());
  constexpr uint64_t kStart = 1;
  const auto start = ProtobufMessage().integer(/*status*/ 1, kStart);
  write_event(resume_update + 1, ProtobufMessage().bytes(kSessionLog, start.text()).text());
}

EventFile::~EventFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

EventFile::EventFile(EventFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

void EventFile::write(int64_t update, const EventSummary& summary) {
  write_event(update, ProtobufMessage().bytes(kSummary, summary.bytes()).text());
}

void EventFile::write_event(int64_t update, const std::string& rest) {
  using Seconds = std::chrono::duration<double>;
  const Seconds now = std::chrono::system_clock::now().time_since_epoch();
  const auto head = ProtobufMessage()
                        .number(kWallTime, now.count())
                        .integer(kStep, static_cast<uint64_t>(update));
  const auto record = record_of(head.text() + rest);
  for (size_t done = 0; done < record.size();) {
    const ssize_t count = ::write(descriptor_, record.data() + done, record.size() - done);
    if (count < 0 && errno == EINTR) continue;
    EVOMOE_CHECK(count > 0, "{}: cannot be written: {}; is the disk full?", path_.string(),
                 std::strerror(errno));
    done += static_cast<size_t>(count);
  }
}

void cut_event_files(const fs::path& folder, int64_t resume_update) {
  for (const auto& file : event_files(folder, /*ours=*/true)) cut_event_file(file, resume_update);
}

size_t move_event_files_aside(const fs::path& folder) {
  const auto files = event_files(folder, /*ours=*/true);
  size_t number = 1;
  for (const auto& file : files) {
    const auto name = [&] { return folder / fmt::format("events.{}", number); };
    while (fs::exists(name())) ++number;
    fs::rename(file, name());
  }
  return files.size();
}

bool has_foreign_event_files(const fs::path& folder) {
  return !event_files(folder, /*ours=*/false).empty();
}

}  // namespace evomoe
