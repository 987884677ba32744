#pragma once

#include <filesystem>
#include <vector>

namespace evomoe {

/// The numbers of a label file of a regression, one a line. A line that is anything else is an
/// Error that names file, line and text.
std::vector<float> read_label_numbers(const std::filesystem::path& path);

}  // namespace evomoe
