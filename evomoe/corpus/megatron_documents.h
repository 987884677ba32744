#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "evomoe/corpus/documents.h"

namespace evomoe {

/// Whether this is the index (`.idx`) of a Megatron dataset. fairseq's begins with the same bytes;
/// Megatron's also counts documents.
bool is_megatron_index(std::string_view idx);

/// Megatron's indexed dataset, `X.idx` and `X.bin`: each document becomes its tokens as decimal
/// numbers between spaces. The token `eod` becomes `</s>`, and the last one of a document is left
/// out, as each document gets an `</s>` anyway. The structure is checked at once: what is cut off,
/// damaged or no such dataset is an Error that names the file.
std::unique_ptr<DocumentReader> open_megatron(const std::filesystem::path& idx,
                                              std::optional<int64_t> eod);

}  // namespace evomoe
