#include "evomoe/checkpoint/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"

namespace evomoe {

namespace fs = std::filesystem;

RunLock::RunLock(const fs::path& folder, std::string_view option) {
  std::error_code made;
  fs::create_directories(folder, made);
  EVOMOE_CHECK(!made, "cannot make the run folder {}: {}; choose another {}", folder.string(),
               made.message(), option);

  const auto path = folder / ".lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  EVOMOE_CHECK(descriptor_ >= 0, "cannot write to the run folder {}: {}; choose another {}",
               folder.string(), std::strerror(errno), option);
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    std::string owner(32, '\0');
    const ssize_t read = ::pread(descriptor_, owner.data(), owner.size(), 0);
    owner.resize(read > 0 ? static_cast<size_t>(read) : 0);
    if (error == EWOULDBLOCK) {
      ::close(descriptor_);
      fail("run folder {} is in use by process {}; wait for it to end, or choose another {}",
           folder.string(), owner.empty() ? "(unknown)" : owner, option);
    }
    // Some network file systems know no locks; that must not keep anybody from training.
    log().warn("run folder {}: cannot be locked ({}); make sure that no other process writes to it",
               folder.string(), std::strerror(error));
  }
  const std::string self = std::to_string(::getpid());
  const bool written =
      ::ftruncate(descriptor_, 0) == 0 &&
      ::pwrite(descriptor_, self.data(), self.size(), 0) == static_cast<ssize_t>(self.size());
  if (!written) {
    const int error = errno;
    ::close(descriptor_);
    fail("cannot write to the run folder {}: {}; choose another {}", folder.string(),
         std::strerror(error), option);
  }
}

RunLock::~RunLock() {
  // The file stays: removing it would let a waiting process lock a file that has no name any more.
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace evomoe
