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
inline constexpr const char* kTokenizerConfigFile = "tokenizer_config.json";
inline constexpr const char* kGenerationConfigFile = "generation_config.json";

/// A tokenizer of Hugging Face, the last, and what goes with it: special tokens, chat template, how
/// its model generates.
const std::vector<std::string>& hub_text_file_names();

/// The BPE in a folder; null where there is none.
std::unique_ptr<ByteBpe> bpe_in(const std::filesystem::path& folder);

/// The BPE that options name; null where they name none.
std::unique_ptr<ByteBpe> given_bpe(const BpeFiles& files);

/// Copies the BPE that options name into a folder, where bpe_in() finds it. Then a BPE of the other
/// kind is removed, and what went with an older tokenizer.json; generation_config.json, which is
/// the model's, stays. Of a new folder vocab.bpe or tokenizer.json is the last file. Error: one of
/// the files is not there; the folder is then as it was.
void copy_bpe(const BpeFiles& files, const std::filesystem::path& folder);

/// The same with the BPE that another folder has; nothing where it has none.
void copy_bpe(const std::filesystem::path& from, const std::filesystem::path& folder);

/// The same with a tokenizer.json: what goes with it is what lies beside it.
void copy_tokenizer(const std::filesystem::path& tokenizer_json,
                    const std::filesystem::path& folder);

}  // namespace evomoe
