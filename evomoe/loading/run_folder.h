#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "evomoe/data/language_model_dataset.h"
#include "evomoe/text/bpe_folder.h"
#include "evomoe/text/bpe_options.h"
#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/options.h"

/// A run folder holds everything that its checkpoints need to be used: config.yaml, log.jsonl,
/// checkpoints, and copies of the data's dict.txt (of a translation: dict.de.txt, dict.en.txt) and,
/// if there is one, of its byte-level BPE (encoder.json and vocab.bpe, or tokenizer.json).
namespace evomoe {

/// All options, as config.yaml has them.
std::string config_yaml(const TrainOptions& options);

/// Writes config.yaml and copies dictionary and BPE.
void write_run_folder(const TrainOptions& options, const std::filesystem::path& folder);

/// The checkpoint that somebody names: fairseq's x.pt means ours of the name x where there is one,
/// and so does x-rank-0.pt where fairseq's file is not there.
std::filesystem::path named_checkpoint(const std::filesystem::path& given);

/// The run folder of a checkpoint.
std::filesystem::path run_folder_of(const std::filesystem::path& checkpoint);

struct Dictionaries {
  Dictionary source, target;
};

/// The dictionaries of a task for a checkpoint: of `data` if given, else those in its run folder.
Dictionaries dictionaries_of(const std::filesystem::path& checkpoint, const std::string& data,
                             const TaskOptions& task);

/// The BPE for a checkpoint: from the files given, else the one in its run folder, else the one of
/// `data` (may be empty), else none.
std::unique_ptr<ByteBpe> bpe_of(const std::filesystem::path& checkpoint, const std::string& data,
                                const BpeFiles& files);

}  // namespace evomoe
