#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "evomoe/data/binarize.h"

/// What is checked alike for all kinds of text before the work begins.
namespace evomoe {

/// The parts of `--{name}pref a,b,c`. An empty name is a UsageError.
std::vector<std::string> file_list(const std::string& files, const std::string& name);

/// Refuses half a BPE, white space that is kept without one, and no worker: a UsageError.
void check_encoding(const PreprocessOptions& options);

/// Makes the folder; an Error when it cannot be written into.
void make_destination(const std::filesystem::path& destdir);

/// An Error when the dictionary to be made is there already; `given`, which `option` gives, is not
/// to be made.
void check_no_dictionary(const std::filesystem::path& dictionary,
                         const std::filesystem::path& given, const char* option);

}  // namespace evomoe
