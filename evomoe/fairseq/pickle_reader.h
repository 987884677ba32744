#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "evomoe/fairseq/pickle_value.h"

namespace evomoe {

/// Gives the storage `key` of `elements` values as a one-dimensional tensor on the CPU.
using StorageReader =
    std::function<torch::Tensor(const std::string& key, torch::ScalarType type, int64_t elements)>;

/// Entries of nested dicts, "model", "extra_state.best", with all that lies below; empty: all.
using PicklePaths = std::vector<std::string>;

/// Reads the entries `wanted` of a pickle (protocol 2 to 5) of plain data and tensors; the storages
/// of other entries are not asked for. Nothing is ever executed or imported: an object of a class
/// other than the known containers and torch's dense tensors is skipped and becomes an OpaqueValue,
/// and so do an integer of more than 64 bits, data that contain themselves and what is nested
/// deeper than 100. Every violation of the format (unknown opcodes, cut data, impossible numbers)
/// is an Error. `name` is what errors call the file. Memory is bounded by a constant times the size
/// of `bytes`, beside what `storage` gives.
PickleValue read_pickle(std::string_view bytes, const std::string& name,
                        const StorageReader& storage, const PicklePaths& wanted = {});

}  // namespace evomoe
