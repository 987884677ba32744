#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "evomoe/corpus/documents.h"

namespace evomoe {

/// JSON lines: each line is an object, whose string `column` is a document. Lines of white space
/// alone are no rows.
std::unique_ptr<DocumentReader> open_json_lines(const std::filesystem::path& path,
                                                const std::string& column);

}  // namespace evomoe
