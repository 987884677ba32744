#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "evomoe/text/bpe_options.h"
#include "evomoe/text/byte_bpe.h"

/// The files of a BPE: named by options, and as they lie in folders of data and of runs.
namespace evomoe {

inline constexpr const char* kTokenizerFile = "tokenizer.json";

/// A tokenizer of Hugging Face and what goes with it there: special tokens, chat template, how its
/// model generates.
const std::vector<std::string>& hub_text_file_names();

/// The BPE in a folder; null where there is none.
std::unique_ptr<ByteBpe> bpe_in(const std::filesystem::path& folder);

/// The BPE that options name; null where they name none.
std::unique_ptr<ByteBpe> given_bpe(const BpeFiles& files);

/// Copies the files that options name into a folder, where bpe_in() finds them.
void copy_bpe(const BpeFiles& files, const std::filesystem::path& folder);

/// Copies those that a folder has: a BPE of GPT-2's, and hub_text_file_names().
void copy_bpe(const std::filesystem::path& from, const std::filesystem::path& folder);

}  // namespace evomoe
