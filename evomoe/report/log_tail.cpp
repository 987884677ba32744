#include "evomoe/report/log_tail.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>

#include "evomoe/base/error.h"
#include "evomoe/report/run_log.h"

namespace evomoe {

bool LogTail::read(const std::function<void(const nlohmann::ordered_json&)>& take,
                   const std::function<void()>& restart) {
  struct stat now {};
  if (::stat(path_.c_str(), &now) != 0) return false;
  bool changed = false;
  if (offset_ > 0 && (now.st_dev != device_ || now.st_ino != inode_ || now.st_size < offset_)) {
    restart();
    changed = true;
    offset_ = lines_ = 0;
  }
  device_ = now.st_dev;
  inode_ = now.st_ino;
  cut_ = false;
  if (now.st_size == offset_) return changed;
  std::ifstream file(path_, std::ios::binary);
  EVOMOE_CHECK(file.is_open(), "{}: cannot be read: {}", path_.string(), std::strerror(errno));
  file.seekg(offset_);
  std::optional<int64_t> broken;  // line that only the end of the file may follow
  for (std::string text; std::getline(file, text);) {
    const auto place = [&](int64_t line) { return fmt::format("{}:{}", path_.string(), line); };
    if (broken) fail_damaged_log(place(*broken));
    if (file.eof()) {  // no end of line yet
      cut_ = true;
      break;
    }
    const auto value = parse_log_line(text, place(lines_ + 1));
    if (!value) {
      broken = lines_ + 1;
      continue;
    }
    take(*value);
    changed = true;
    ++lines_;
    offset_ += static_cast<int64_t>(text.size()) + 1;
  }
  cut_ = cut_ || broken.has_value();
  return changed;
}

}  // namespace evomoe
