#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "evomoe/fairseq/pickle_value.h"

namespace evomoe::fuzz {

/// What every storage of the targets holds: so many float32.
constexpr int64_t kStorageElements = 12;

/// Checkpoints of fairseq: of a whole model, of experts, of a shard. All tensors have
/// kStorageElements.
std::vector<PickleValue> fairseq_files();

/// That of a whole model, in which a tensor has another name.
PickleValue fairseq_file_with(const std::string& name);

/// The pickle that the project's writer makes of a value.
std::string pickle_of(const PickleValue& value, const std::filesystem::path& folder);

/// A file of torch.save with this pickle and storages "0" to "11".
void write_torch_zip(const std::filesystem::path& path, const std::string& pickle);

}  // namespace evomoe::fuzz
