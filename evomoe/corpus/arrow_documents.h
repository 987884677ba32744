#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "evomoe/corpus/documents.h"

namespace evomoe {

/// Whether this program was built with Arrow, which reads Parquet and Arrow files.
bool has_arrow();

/// The texts of the column `column`, of strings, a row a document. An Error names a file that is
/// cut off or something else, a column that is not there (it lists those that are) and one that
/// holds no strings. Without Arrow: an Error that says what to do.
std::unique_ptr<DocumentReader> open_parquet(const std::filesystem::path& path,
                                             const std::string& column);
/// The same of an Arrow file or stream (also Feather, version 2, and the files of Hugging Face's
/// `datasets`).
std::unique_ptr<DocumentReader> open_arrow(const std::filesystem::path& path,
                                           const std::string& column);

}  // namespace evomoe
