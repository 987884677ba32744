#include "evomoe/optim/disk_tensor.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "evomoe/base/byte_size.h"
#include "evomoe/base/error.h"

namespace evomoe {
namespace {

/// A file without a name.
int open_nameless(const std::filesystem::path& folder) {
  std::string name = (folder / ".evomoe-XXXXXX").string();
  const int file = ::mkostemp(name.data(), O_CLOEXEC);
  EVOMOE_CHECK(file >= 0,
               "cannot make a file in {}: {}; check that it is a folder and may be "
               "written",
               folder.string(), std::strerror(errno));
  ::unlink(name.c_str());
  return file;
}

}  // namespace

torch::Tensor zeros_on_disk(const std::filesystem::path& folder, at::IntArrayRef sizes,
                            torch::ScalarType type) {
  const auto bytes = static_cast<size_t>(c10::multiply_integers(sizes)) * c10::elementSize(type);
  if (bytes == 0) return torch::zeros(sizes, type);
  const int file = open_nameless(folder);
  int reason = ::posix_fallocate(file, 0, static_cast<off_t>(bytes));
  void* memory = MAP_FAILED;
  if (reason == 0) {
    memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) reason = errno;
  }
  ::close(file);
  EVOMOE_CHECK(memory != MAP_FAILED, "cannot keep a tensor of {} in a file in {}: {}",
               byte_size_text(static_cast<int64_t>(bytes)), folder.string(), std::strerror(reason));
  return torch::from_blob(
      memory, sizes, [bytes](void* mapped) { ::munmap(mapped, bytes); },
      torch::TensorOptions().dtype(type));
}

void leave_memory(const torch::Tensor& tensor) {
  if (tensor.nbytes() > 0) ::madvise(tensor.mutable_data_ptr(), tensor.nbytes(), MADV_DONTNEED);
}

}  // namespace evomoe
