#include "evomoe/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "evomoe/base/error.h"

namespace evomoe {

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  // O_NONBLOCK: a pipe to which nobody writes is refused below, and not waited for.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  EVOMOE_CHECK(file >= 0, "cannot open {}: {}; check the path and its permissions", path.string(),
               std::strerror(errno));
  struct stat status {};
  if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(file);
    fail("cannot read {}: it is {}", path.string(),
         S_ISDIR(status.st_mode)
             ? "a folder; name a file"
             : "not a regular file; copy what it gives into one, and name that");
  }
  size_ = status.st_size;
  if (size_ > 0) {
    // Without a reservation, as a file may be larger than memory: unchanged pages can be dropped
    // and read again.
    void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, file, 0);
    const int reason = errno;
    ::close(file);
    EVOMOE_CHECK(mapped != MAP_FAILED, "cannot map {} ({} bytes) into memory: {}", path.string(),
                 size_, std::strerror(reason));
    data_ = static_cast<const char*>(mapped);
  } else {
    ::close(file);
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_);
}

char* MappedFile::own_bytes() {
  auto* bytes = const_cast<char*>(data_);
  if (bytes != nullptr) {
    EVOMOE_CHECK(::mprotect(bytes, size_, PROT_READ | PROT_WRITE) == 0,
                 "cannot map {} ({} bytes) into memory for changes: {}; it counts as memory where "
                 "the system promises no more than it has (vm.overcommit_memory=2): set that to 0 "
                 "or 1, or use a machine with more memory",
                 path_.string(), size_, std::strerror(errno));
  }
  return bytes;
}

void MappedFile::forget_pages() const {
  if (data_ != nullptr) ::madvise(const_cast<char*>(data_), size_, MADV_DONTNEED);
}

}  // namespace evomoe
