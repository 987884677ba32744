#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "evomoe/data/token_stream.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {

/// The parts of `a:b:c`; an empty part is a UsageError that says what they are, `name`.
std::vector<std::filesystem::path> split_paths(const std::string& paths, const std::string& name);
std::vector<std::filesystem::path> split_data_paths(const std::string& paths);

/// As split_data_paths; a folder that is not there is an Error.
std::vector<std::filesystem::path> open_data_paths(const std::string& paths);

/// Reads a dictionary of a data folder. A missing one is an Error that says what the folder is not.
Dictionary load_dictionary_of(const std::filesystem::path& folder, const std::string& file);

/// The names of the indexed files of a folder without `.idx`, sorted: `train`, `train.de-en.de`.
std::vector<std::string> indexed_files(const std::filesystem::path& folder);

/// The Error for a split that is not there: lists what is.
[[noreturn]] void fail_missing_split(const std::filesystem::path& folder, const std::string& split,
                                     const std::vector<std::string>& there, const char* remedy);

/// What to do when the training split, or another one, is not there.
inline constexpr const char* kOtherTrainSplit = "name another one with --train-subset";
inline constexpr const char* kOtherSplit =
    "name another one with --valid-subset (eval-lm, generate: --gen-subset), or train without "
    "validation by --disable-validation";

/// Of `splits`: `valid1`, `valid2`, ... that are not among `used`.
std::vector<std::string> unused_among(const std::vector<std::string>& splits,
                                      const std::vector<std::string>& used);

/// `train` for part 0, then `train1`, `train2`, ...
std::string numbered_split(const std::string& split, int64_t part);

/// Token files of data folders, each opened, and checked against its dictionary, once.
class TokenFiles {
 public:
  std::shared_ptr<const TokenStream> open(const std::filesystem::path& prefix,
                                          const Dictionary& dictionary);
  /// `split` of a folder; `combine`: with split1, split2, ... appended. Nothing when the folder
  /// has no such split.
  std::shared_ptr<const TokenStream> open_split(const std::filesystem::path& folder,
                                                const std::string& split, bool combine,
                                                const Dictionary& dictionary);

 private:
  std::map<std::filesystem::path, std::shared_ptr<const TokenStream>> files_;  ///< by prefix
};

}  // namespace evomoe
