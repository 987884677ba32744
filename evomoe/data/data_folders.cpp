#include "evomoe/data/data_folders.h"

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/data/indexed_dataset.h"

namespace evomoe {
namespace {

void require_data_folder(const std::filesystem::path& folder) {
  EVOMOE_CHECK(std::filesystem::is_directory(folder),
               "{}: {}; `evomoe preprocess` makes a data-bin folder (see evomoe preprocess --help)",
               folder.string(),
               std::filesystem::exists(folder) ? "it is a file, and a data-bin folder is needed"
                                               : "there is no such data folder");
}

}  // namespace

std::vector<std::filesystem::path> split_paths(const std::string& paths, const std::string& name) {
  std::vector<std::filesystem::path> parts;
  for (size_t begin = 0; begin <= paths.size();) {
    const size_t end = std::min(paths.find(':', begin), paths.size());
    if (end == begin)
      fail_usage("{} `{}` has an empty part; write one name or `a:b:c`", name, paths);
    parts.emplace_back(paths.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::vector<std::filesystem::path> split_data_paths(const std::string& paths) {
  return split_paths(paths, "data path");
}

std::vector<std::filesystem::path> open_data_paths(const std::string& paths) {
  auto folders = split_data_paths(paths);
  for (const auto& folder : folders) {
    require_data_folder(folder);
  }
  return folders;
}

Dictionary load_dictionary_of(const std::filesystem::path& folder, const std::string& name) {
  require_data_folder(folder);
  const auto file = folder / name;
  EVOMOE_CHECK(std::filesystem::exists(file),
               "{} is not there: {} is no folder made by `evomoe preprocess` for this; check the "
               "path",
               file.string(), folder.string());
  return Dictionary::load(file);
}

std::vector<std::string> indexed_files(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".idx") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void fail_missing_split(const std::filesystem::path& folder, const std::string& split,
                        const std::vector<std::string>& there, const char* remedy) {
  const bool has_examples = std::any_of(there.begin(), there.end(), [](const std::string& name) {
    return name.ends_with(".prompt");
  });
  if (has_examples) {
    fail(
        "split `{}` is not in {}, which holds prompts with answers ({}): they are for --task "
        "supervised_finetuning, and for `validate` and `generate` with a model of that task",
        split, folder.string(), fmt::join(there, ", "));
  }
  fail("split `{}` is not in {}; {}", split, folder.string(),
       there.empty() ? "the folder holds no .idx file, make it with `evomoe preprocess`"
                     : fmt::format("there are: {}; {}", fmt::join(there, ", "), remedy));
}

std::vector<std::string> unused_among(const std::vector<std::string>& splits,
                                      const std::vector<std::string>& used) {
  std::vector<std::string> unused;
  for (const auto& name : splits) {
    const bool numbered = name.starts_with("valid") && name.size() > 5 &&
                          name.find_first_not_of("0123456789", 5) == std::string::npos;
    if (numbered && std::find(used.begin(), used.end(), name) == used.end()) unused.push_back(name);
  }
  return unused;
}

std::string numbered_split(const std::string& split, int64_t part) {
  return part == 0 ? split : split + std::to_string(part);
}

std::shared_ptr<const TokenStream> TokenFiles::open(const std::filesystem::path& prefix,
                                                    const Dictionary& dictionary) {
  auto& file = files_[prefix];
  if (file) return file;
  auto opened = open_tokens(prefix, dictionary);
  opened->check_tokens(dictionary.size());
  log().info("loaded {} items, {} tokens from {}", opened->items(), opened->tokens(),
             prefix.string());
  return file = std::move(opened);
}

std::shared_ptr<const TokenStream> TokenFiles::open_split(const std::filesystem::path& folder,
                                                          const std::string& split, bool combine,
                                                          const Dictionary& dictionary) {
  std::vector<std::shared_ptr<const TokenStream>> parts;
  for (int64_t part = 0; part == 0 || combine; ++part) {
    const auto prefix = folder / numbered_split(split, part);
    if (!token_file_exists(prefix)) break;
    parts.push_back(open(prefix, dictionary));
  }
  if (parts.empty()) return nullptr;
  return parts.size() == 1 ? parts.front() : std::make_shared<ConcatenatedStream>(std::move(parts));
}

}  // namespace evomoe
