#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evomoe/corpus/corpus.h"
#include "evomoe/data/megatron_ids.h"
#include "evomoe/data/preprocess_options.h"
#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {

/// How an item of text becomes symbols.
struct LineEncoding {
  const ByteBpe* bpe = nullptr;  ///< null: words between white space
  /// With a BPE: the white space at both ends of a line is encoded too. fairseq's encoder strips
  /// it, and with it the indentation of source code.
  bool keep_whitespace = false;

  /// What of a line, or of another text, the BPE gets.
  std::string_view bpe_text(std::string_view text) const;
};

/// Called from the calling thread with (bytes of the files done, bytes in all).
using BinarizeProgress = std::function<void(int64_t, int64_t)>;

struct BinarizeOptions {
  Corpus source;
  std::filesystem::path output_prefix;  ///< writes output_prefix.bin and .idx
  const Dictionary* dictionary = nullptr;
  int workers = 1;  ///< threads; the output does not depend on their number
  LineEncoding encoding;
  /// Writes a Megatron dataset of these numbers; null: fairseq's format.
  const MegatronIds* megatron = nullptr;
  BinarizeProgress progress;
};

struct BinarizeStatistics {
  int64_t sentences = 0;
  int64_t tokens = 0;    ///< with the end of each item
  int64_t replaced = 0;  ///< words that became <unk>
};

/// Encodes a corpus, of which a text file's line is an item, and a document of another file. Every
/// item gets an </s>; an empty one becomes `</s>` alone (a document separator). Of a Megatron
/// dataset the numbers of its tokens are the symbols, with a BPE as well as without one. Into a
/// Megatron dataset empty items are not written.
BinarizeStatistics binarize(const BinarizeOptions& options);

/// Counts the words (or BPE ids) of a corpus. Not yet sorted or cut: see Dictionary::finalize.
Dictionary build_dictionary(const Corpus& corpus, int workers, const LineEncoding& encoding = {},
                            const BinarizeProgress& progress = {});

struct PreprocessResult {
  int64_t dictionary_size = 0;         ///< of the source
  int64_t target_dictionary_size = 0;  ///< 0: there is no target
  struct Split {
    std::string name;    ///< of its files: train, train1, train.de-en.de, ...
    std::string lang;    ///< empty: none
    std::string source;  ///< as it was given
    BinarizeStatistics statistics;
  };
  std::vector<Split> splits;
  int64_t bad_rows = 0;  ///< that were left out
  /// What was made, in fairseq's words; the lines of preprocess.log.
  std::vector<std::string> report;
};

/// Makes a data-bin folder: dict.txt, {train,valid,test}[n].{bin,idx} and preprocess.log; for a
/// pair dict.{lang}.txt and {split}.{source}-{target}.{lang}.{bin,idx}. Missing inputs, sides of a
/// pair with unequally many lines, a folder that cannot be written and an existing dictionary
/// (unless it is given) are Errors before any work.
PreprocessResult preprocess(const PreprocessOptions& options);

/// Makes a data-bin folder of prompts with answers: dict.txt, {split}.prompt.{bin,idx},
/// {split}.answer.{bin,idx} and preprocess.log. --trainpref and the others name files of JSON lines
/// (`examples` is "jsonl"), or are the beginnings of the names of pairs of text files ("pairs"; see
/// example_files.h). All are read before anything is written, and are held in memory.
PreprocessResult preprocess_examples(const PreprocessOptions& options);

}  // namespace evomoe
