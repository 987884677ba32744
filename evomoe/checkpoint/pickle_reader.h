#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "evomoe/checkpoint/pickle_value.h"

namespace evomoe {

/// Gives the storage `key` of `elements` values as a one-dimensional tensor on the CPU.
using StorageReader =
    std::function<torch::Tensor(const std::string& key, torch::ScalarType type, int64_t elements)>;

/// Reads a pickle of plain data and tensors. Nothing is ever executed: a class or function other
/// than the known containers and torch's tensors is an Error that names it, and so is every other
/// violation: unknown opcodes, cut data, impossible numbers, data that contain themselves or are
/// nested deeper than 100. `name` is what errors call the file.
PickleValue read_pickle(std::string_view bytes, const std::string& name,
                        const StorageReader& storage);

}  // namespace evomoe
