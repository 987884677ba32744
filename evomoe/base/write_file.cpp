#include "evomoe/base/write_file.h"

#include <fstream>

#include "evomoe/base/error.h"

namespace evomoe {

namespace fs = std::filesystem;

fs::path temporary_of(const fs::path& path) { return path.string() + ".tmp"; }

void write_file(const fs::path& path, const std::function<void(std::ostream&)>& write) {
  std::error_code ignored;
  const auto type = fs::symlink_status(path, ignored).type();
  const bool in_place = type != fs::file_type::not_found && type != fs::file_type::regular;
  const auto written = in_place ? path : temporary_of(path);
  std::ofstream stream(written, std::ios::binary);
  EVOMOE_CHECK(stream.good(), "cannot write {}; check that the folder exists and may be written to",
               path.string());
  try {
    write(stream);
    stream.close();
    EVOMOE_CHECK(!stream.fail(), "cannot write {}: the disk may be full", path.string());
    if (!in_place) fs::rename(written, path);
  } catch (...) {
    if (!in_place) fs::remove(written, ignored);
    throw;
  }
}

void copy_file_to(const fs::path& from, const fs::path& to) {
  std::error_code error;
  if (fs::equivalent(from, to, error)) return;
  std::ifstream source(from, std::ios::binary);
  EVOMOE_CHECK(source.good() && !fs::is_directory(from), "cannot read {}, to copy it to {}",
               from.string(), to.string());
  write_file(to, [&](std::ostream& stream) {
    // An empty file has nothing to take from, which a stream counts as a failure.
    if (source.peek() != std::ifstream::traits_type::eof()) stream << source.rdbuf();
    EVOMOE_CHECK(!source.bad(), "cannot read {}, to copy it to {}", from.string(), to.string());
  });
}

}  // namespace evomoe
