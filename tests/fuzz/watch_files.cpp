// The functions of the C library that name files, with a look at the name: a program's own ones
// come before the library's, also for the shared libraries that it uses.
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/fuzz/target.h"

namespace evomoe::fuzz {
namespace {

std::string& watched_folder() {
  static std::string folder;
  return folder;
}
std::atomic<bool> watching = false;

void look_at(const char* path) {
  if (!watching || path == nullptr) return;
  const std::string_view name = path;
  const auto inside = [&](std::string_view folder) {
    return name.starts_with(folder) && name.find("/../") == std::string_view::npos;
  };
  if (inside(watched_folder()) || inside("/proc/") || inside("/sys/") || inside("/usr/lib/") ||
      inside("/lib/"))
    return;
  watching = false;
  std::fprintf(stderr, "ERROR: the reader touches '%s', which is outside of its folder\n", path);
  std::abort();
}

template <typename Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

WatchFiles::WatchFiles(const std::filesystem::path& folder) {
  watched_folder() = folder.string();
  watching = true;
}

WatchFiles::~WatchFiles() { watching = false; }

}  // namespace evomoe::fuzz

extern "C" {

using evomoe::fuzz::look_at;
using evomoe::fuzz::next;

#define EVOMOE_WATCH_OPEN(name)                                          \
  int name(const char* path, int flags, ...) {                           \
    static const auto real = next<int(const char*, int, ...)>(#name);    \
    va_list more;                                                        \
    va_start(more, flags);                                               \
    const auto mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0; \
    va_end(more);                                                        \
    look_at(path);                                                       \
    return real(path, flags, mode);                                      \
  }
EVOMOE_WATCH_OPEN(open)
EVOMOE_WATCH_OPEN(open64)

#define EVOMOE_WATCH_FOPEN(name)                                           \
  FILE* name(const char* path, const char* mode) {                         \
    static const auto real = next<FILE*(const char*, const char*)>(#name); \
    look_at(path);                                                         \
    return real(path, mode);                                               \
  }
EVOMOE_WATCH_FOPEN(fopen)
EVOMOE_WATCH_FOPEN(fopen64)

int rename(const char* from, const char* to) {
  static const auto real = next<int(const char*, const char*)>("rename");
  look_at(from);
  look_at(to);
  return real(from, to);
}

#define EVOMOE_WATCH_PATH(name)                             \
  int name(const char* path) {                              \
    static const auto real = next<int(const char*)>(#name); \
    look_at(path);                                          \
    return real(path);                                      \
  }
EVOMOE_WATCH_PATH(unlink)
EVOMOE_WATCH_PATH(remove)
EVOMOE_WATCH_PATH(rmdir)

int mkdir(const char* path, mode_t mode) {
  static const auto real = next<int(const char*, mode_t)>("mkdir");
  look_at(path);
  return real(path, mode);
}

}  // extern "C"
