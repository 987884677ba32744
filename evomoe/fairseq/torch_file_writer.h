#pragma once

#include <filesystem>

#include "evomoe/fairseq/pickle_value.h"

namespace evomoe {

/// Writes `value` as torch.save does (zip format, protocol 2; contiguous copies of the tensors), so
/// that torch.load(weights_only=True) reads it. Under a temporary name that is renamed at the end:
/// a failure is an Error that names the path and leaves what was there.
void write_torch_file(const std::filesystem::path& path, const PickleValue& value);

}  // namespace evomoe
