#include "evomoe/checkpoint/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <set>

#include "evomoe/base/error.h"

namespace evomoe {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kTemporary = ".tmp";
constexpr std::string_view kBackup = ".old";

constexpr size_t kBufferBytes = size_t{8} << 20;
constexpr size_t kLeastAsItLies = size_t{1} << 20;

[[noreturn]] void fail_errno(std::string_view action, const fs::path& path, int error) {
  const std::string_view remedy = error == ENOSPC || error == EDQUOT || error == EFBIG
                                      ? "; free some space or choose another folder"
                                      : (error == EACCES || error == EPERM || error == EROFS
                                             ? "; choose a folder you may write to"
                                             : "");
  fail("cannot {} {}: {}{}", action, path.string(), std::strerror(error), remedy);
}

/// Whether something has this name, be it a link that leads nowhere.
bool has_entry(const fs::path& path) {
  return fs::symlink_status(path).type() != fs::file_type::not_found;
}

bool is_real_folder(const fs::path& path) {
  return fs::symlink_status(path).type() == fs::file_type::directory;
}

void rename_entry(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail_errno("rename a temporary to", to, errno);
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) fail_errno("remove", path, error.value());
}

/// Swaps two names in one step. False where the file system cannot.
bool exchange(const fs::path& a, const fs::path& b) {
  if (::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0) return true;
  if (errno == EINVAL || errno == ENOSYS || errno == ENOTSUP) return false;
  fail_errno("replace", b, errno);
}

}  // namespace

void DurableFile::Free::operator()(char* memory) const { std::free(memory); }

DurableFile::DurableFile(fs::path path)
    : path_(std::move(path)),
      buffer_(static_cast<char*>(std::aligned_alloc(kFilePage, kBufferBytes))) {
  if (!buffer_) throw std::bad_alloc();
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
  descriptor_ = ::open(path_.c_str(), kFlags | O_DIRECT, 0666);
  direct_ = descriptor_ >= 0;
  // Some file systems (of memory, of networks) have no direct writing.
  if (!direct_ && errno == EINVAL) descriptor_ = ::open(path_.c_str(), kFlags, 0666);
  if (descriptor_ < 0) fail_errno("create", path_, errno);
}

DurableFile::~DurableFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(path_.c_str());
}

void DurableFile::write(std::string_view bytes) {
  bytes_ += bytes.size();
  while (!bytes.empty()) {
    const bool as_it_lies = direct_ && bytes.size() >= kLeastAsItLies && filled_ % kFilePage == 0 &&
                            reinterpret_cast<uintptr_t>(bytes.data()) % kFilePage == 0;
    if (as_it_lies && filled_ > 0) write_buffer();
    auto part = bytes.substr(0, kBufferBytes - filled_);
    if (as_it_lies) part = part.substr(0, part.size() / kFilePage * kFilePage);
    hash_.update(part);
    if (as_it_lies) {
      write_out(part.data(), part.size());
    } else {
      std::memcpy(buffer_.get() + filled_, part.data(), part.size());
      filled_ += part.size();
      if (filled_ == kBufferBytes) write_buffer();
    }
    bytes.remove_prefix(part.size());
  }
}

void DurableFile::write_buffer() {
  write_out(buffer_.get(), filled_);
  filled_ = 0;
}

void DurableFile::write_out(const char* data, size_t bytes) {
  const auto through_cache = [&] {
    direct_ = false;
    if (::fcntl(descriptor_, F_SETFL, ::fcntl(descriptor_, F_GETFL) & ~O_DIRECT) != 0)
      fail_errno("write to", path_, errno);
  };
  size_t done = 0;
  while (done < bytes) {
    // Direct writing takes whole sectors, from memory and to places that begin with one.
    if (direct_ && (done % kFilePage != 0 || (bytes - done) % kFilePage != 0)) through_cache();
    const ssize_t written = ::write(descriptor_, data + done, bytes - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EINVAL && direct_) {
      through_cache();
      continue;
    }
    if (written < 0) fail_errno("write to", path_, errno);
    done += static_cast<size_t>(written);
  }
}

void DurableFile::close() {
  write_buffer();
  if (::fsync(descriptor_) != 0) fail_errno("bring to the disk", path_, errno);
  const int descriptor = descriptor_;
  descriptor_ = -1;
  if (::close(descriptor) != 0) {
    const int error = errno;
    ::unlink(path_.c_str());
    fail_errno("close", path_, error);
  }
}

void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail_errno("open", folder, errno);
  const int error = ::fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  // Some network file systems cannot sync a folder; their renames are durable or not as they
  // please.
  if (error != 0 && error != EINVAL && error != ENOTSUP)
    fail_errno("bring to the disk", folder, error);
}

fs::path temporary_name(const fs::path& path) {
  return path.parent_path() / fmt::format(".{}{}", path.filename().string(), kTemporary);
}

fs::path backup_name(const fs::path& path) {
  return path.parent_path() / fmt::format(".{}{}", path.filename().string(), kBackup);
}

void recover_entry(const fs::path& path) {
  const auto temporary = temporary_name(path);
  const auto backup = backup_name(path);
  if (has_entry(backup)) {
    if (has_entry(path)) {
      remove_tree(backup);
    } else {
      rename_entry(backup, path);
    }
  }
  if (has_entry(temporary)) remove_tree(temporary);
}

void recover_folder(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    for (const auto suffix : {kTemporary, kBackup}) {
      if (name.size() > 1 + suffix.size() && name.front() == '.' && name.ends_with(suffix)) {
        names.insert(name.substr(1, name.size() - 1 - suffix.size()));
      }
    }
  }
  for (const auto& name : names) recover_entry(folder / name);
}

void replace_by_temporary(const fs::path& path) {
  const auto temporary = temporary_name(path);
  const auto parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  // rename replaces a file or link by another in one step, but never puts a folder in the place of
  // something.
  const bool one_step = !has_entry(path) || (!is_real_folder(path) && !is_real_folder(temporary));
  if (one_step) {
    rename_entry(temporary, path);
    sync_folder(parent);
  } else if (exchange(temporary, path)) {
    sync_folder(parent);
    remove_tree(temporary);
  } else {
    const auto backup = backup_name(path);
    rename_entry(path, backup);
    if (::rename(temporary.c_str(), path.c_str()) != 0) {
      const int error = errno;
      rename_entry(backup, path);
      fail_errno("replace", path, error);
    }
    sync_folder(parent);
    remove_tree(backup);
  }
}

void remove_entry(const fs::path& path) {
  const auto temporary = temporary_name(path);
  remove_tree(temporary);  // of an earlier removal that failed
  rename_entry(path, temporary);
  remove_tree(temporary);
}

}  // namespace evomoe
