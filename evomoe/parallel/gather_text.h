#pragma once

#include <string>
#include <vector>

#include "evomoe/parallel/communicator.h"

/// Bytes that ranks send to each other, of any length.
namespace evomoe {

/// What each rank gives, in their order, on rank 0; nothing on the others. All ranks call it.
std::vector<std::string> gather_texts(std::string own, Communicator& communicator);

/// What rank 0 gives, on all ranks. All ranks call it; those but the first give nothing.
std::string text_of_first_rank(std::string text, Communicator& communicator);

}  // namespace evomoe
