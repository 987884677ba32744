#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>

namespace evomoe {

/// The name under which the file `path` is prepared.
std::filesystem::path temporary_of(const std::filesystem::path& path);

/// Makes the file `path` of what `write` puts into the stream. It has another name until it is
/// complete, so that its own never leads to half of it; only a device, a pipe or a link
/// (/dev/stdout) is written in place. Errors name the path; on failure nothing is left behind.
void write_file(const std::filesystem::path& path, const std::function<void(std::ostream&)>& write);

/// Copies a file over `to`, as write_file does; nothing happens when both are the same file.
void copy_file_to(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace evomoe
