#include "evomoe/corpus/input_files.h"

#include <glob.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/corpus/byte_stream.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> kJsonEndings = {".jsonl", ".ndjson", ".json"};
constexpr std::array<std::string_view, 3> kArrowEndings = {".arrow", ".feather", ".ipc"};
/// What would be taken for lines of text, and never is.
constexpr std::array<std::string_view, 8> kPackedEndings = {".bz2", ".xz",  ".lz4", ".zip",
                                                            ".7z",  ".rar", ".tar", ".tgz"};

bool is_among(const auto& endings, const std::string& ending) {
  return std::find(endings.begin(), endings.end(), ending) != endings.end();
}

/// Whether a file of a folder is taken.
bool has_known_ending(const fs::path& path) {
  const auto ending = path.extension().string();
  const auto inner = without_compression(path).extension().string();
  return inner == ".txt" || is_among(kJsonEndings, inner) || is_among(kArrowEndings, ending) ||
         ending == ".parquet";
}

/// Whether `path` is there, as far as can be known; a path that is no name of a file is not.
bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

/// Whether `path` may be read as a file. A pipe could be waited for; a folder behind a link could
/// lead in circles. A link that leads nowhere may: who opens it says so.
bool may_be_file(const fs::path& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  return fs::is_regular_file(status) || !fs::exists(status);
}

std::vector<fs::path> files_of_folder(const fs::path& folder) {
  std::vector<fs::path> taken;
  std::vector<fs::path> ignored;
  std::error_code error;
  auto entry = fs::recursive_directory_iterator(folder, error);
  for (; !error && entry != fs::end(entry); entry.increment(error)) {
    if (is_folder(entry->path()) && !entry->is_symlink()) continue;
    const bool is_taken = has_known_ending(entry->path()) && may_be_file(entry->path());
    (is_taken ? taken : ignored).push_back(entry->path());
  }
  EVOMOE_CHECK(!error, "{}: the folder, or one in it, cannot be read: {}; check its permissions",
               folder.string(), error.message());
  std::sort(taken.begin(), taken.end());
  std::sort(ignored.begin(), ignored.end());
  const auto indexed = std::find_if(ignored.begin(), ignored.end(), [&](const fs::path& path) {
    return path.extension() == ".idx" && path.parent_path() == (folder / "").parent_path();
  });
  EVOMOE_CHECK(
      indexed == ignored.end(),
      "{}: it is a folder of data (it holds {}), not of text; name the text, or Megatron's "
      ".idx files themselves",
      folder.string(), indexed->filename().string());
  EVOMOE_CHECK(
      !taken.empty(),
      "{}: none of the {} files in the folder is a regular file that ends in .txt, .jsonl, .json, "
      ".parquet, .arrow or .feather; name the files themselves",
      folder.string(), ignored.size());
  if (!ignored.empty()) {
    log().info(
        "{}: files with other endings, links to folders and what is no regular file, which are "
        "ignored: {} ({}{})",
        folder.string(), ignored.size(), ignored.front().filename().string(),
        ignored.size() == 1 ? "" : ", ...");
  }
  return taken;
}

std::vector<fs::path> files_of_pattern(const std::string& pattern) {
  glob_t found{};
  const int status = ::glob(pattern.c_str(), GLOB_ERR, nullptr, &found);
  std::vector<fs::path> files;
  if (status == 0) files.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  std::erase_if(files, is_folder);
  EVOMOE_CHECK(!files.empty(), "{}: no file has a name of this pattern; check the path", pattern);
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

InputFormat format_of(const fs::path& path) {
  const auto ending = path.extension().string();
  const auto inner = without_compression(path).extension().string();
  EVOMOE_CHECK(!is_among(kPackedEndings, ending) && !is_among(kPackedEndings, inner),
               "{}: files that end in {} are not read; unpack it, and give text, JSON lines (both "
               "may be compressed by gzip or zstd) or Parquet",
               path.string(), is_among(kPackedEndings, ending) ? ending : inner);
  EVOMOE_CHECK(without_compression(path) == without_compression(without_compression(path)),
               "{}: it is compressed twice; unpack it once", path.string());
  EVOMOE_CHECK(ending == inner || (inner != ".parquet" && !is_among(kArrowEndings, inner)),
               "{}: a file in the format {} is not compressed once more; unpack it", path.string(),
               inner);
  EVOMOE_CHECK(ending != ".bin" || !is_there(fs::path(path).replace_extension(".idx")),
               "{}: this is a part of an indexed dataset; name its other file, {}", path.string(),
               fs::path(path).replace_extension(".idx").string());
  if (is_among(kJsonEndings, inner)) return InputFormat::kJsonLines;
  if (ending == ".parquet") return InputFormat::kParquet;
  if (is_among(kArrowEndings, ending)) return InputFormat::kArrow;
  if (ending == ".idx") return InputFormat::kMegatron;
  return InputFormat::kText;
}

std::vector<fs::path> input_files(const std::string& input) {
  if (is_folder(input)) return files_of_folder(input);
  const bool is_pattern = input.find_first_of("*?[") != std::string::npos;
  if (is_pattern && !is_there(input)) return files_of_pattern(input);
  return {input};
}

}  // namespace evomoe
