#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace evomoe {

/// What a file holds, by the ending of its name.
enum class InputFormat {
  kText,       ///< any other name; `.gz` and `.zst` may follow
  kJsonLines,  ///< .jsonl, .ndjson, .json; `.gz` and `.zst` may follow
  kParquet,    ///< .parquet
  kArrow,      ///< .arrow, .feather, .ipc
  kMegatron,   ///< .idx, beside which lies a .bin
};

/// An Error for a name that says that the file must be unpacked or converted first.
InputFormat format_of(const std::filesystem::path& path);

/// The files that `input` means: a file; a pattern (`news/*.jsonl.zst`), as the shell reads it; or
/// a folder, of which all files with an ending of a known format are taken, those in folders below
/// too, and the others are left out with a message that counts them. Sorted by name. A pattern or a
/// folder without a file is an Error; whether a named file is there is not looked at.
std::vector<std::filesystem::path> input_files(const std::string& input);

}  // namespace evomoe
