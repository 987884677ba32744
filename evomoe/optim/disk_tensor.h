#pragma once

#include <torch/torch.h>

#include <filesystem>

/// Tensors that live in a file, for what is read and written once an update and would not fit into
/// memory.
namespace evomoe {

/// A CPU tensor of zeros whose memory is a nameless file in `folder`, gone with the tensor. The
/// space is taken now, so that a full disk is an Error here and not a signal later.
torch::Tensor zeros_on_disk(const std::filesystem::path& folder, at::IntArrayRef sizes,
                            torch::ScalarType type);

/// Takes the pages of such a tensor out of the process's memory; the system writes them to the file
/// and reads them when they are used again.
void leave_memory(const torch::Tensor& tensor);

}  // namespace evomoe
