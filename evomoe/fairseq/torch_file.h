#pragma once

#include <filesystem>

#include "evomoe/fairseq/pickle_reader.h"

namespace evomoe {

/// Reads the entries `wanted` of a file of torch.save (zip format) to the CPU, without Python; see
/// read_pickle for what is read. Anything else is an Error that names the file; one of before
/// PyTorch 1.6 also names the way out.
PickleValue read_torch_file(const std::filesystem::path& path, const PicklePaths& wanted = {});

}  // namespace evomoe
