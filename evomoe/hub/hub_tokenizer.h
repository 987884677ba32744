#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "evomoe/hub/hub_vocabulary.h"
#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {

/// The tokenizer in a model's folder. Null where it has none; or, with a warning, where it is one
/// that cannot be read here.
std::unique_ptr<ByteBpe> hub_tokenizer(const std::filesystem::path& folder);

/// Copies what a model's folder says of its text into a run folder: hub_text_file_names(). Where it
/// has no generation_config.json, one is made of the ids in its config.json.
void import_hub_text(const std::filesystem::path& folder, const std::filesystem::path& output);

/// What of a model of ours its text depends on.
struct HubTextExport {
  std::filesystem::path run;  ///< its folder
  const Dictionary& dictionary;
  const ByteBpe* bpe = nullptr;  ///< null: none
  HubRows rows;
  int64_t positions = 0;
  bool add_bos = false;  ///< a text begins with <s>, else with </s>
};

/// Writes what transformers needs for text, and returns the files: for a model of theirs the files
/// that came with it; for one of ours with a BPE tokenizer.json and tokenizer_config.json, which
/// give the ids of the exported rows; for all generation_config.json. `config` gets the ids of
/// start, end and padding, and the number of rows.
std::vector<std::filesystem::path> export_hub_text(const HubTextExport& text,
                                                   const std::filesystem::path& folder,
                                                   nlohmann::ordered_json& config);

}  // namespace evomoe
