#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {

/// How a line of text becomes symbols.
struct LineEncoding {
  const ByteBpe* bpe = nullptr;  ///< null: words between white space
  /// With a BPE: the white space at both ends of a line is encoded too. fairseq's encoder strips
  /// it, and with it the indentation of source code.
  bool keep_whitespace = false;

  /// What of a line, or of another text, the BPE gets.
  std::string_view bpe_text(std::string_view text) const;
};

/// Called from the calling thread with (bytes of text done, bytes in all).
using BinarizeProgress = std::function<void(int64_t, int64_t)>;

struct BinarizeOptions {
  std::filesystem::path source;         ///< text, a line an item
  std::filesystem::path output_prefix;  ///< writes output_prefix.bin and .idx
  const Dictionary* dictionary = nullptr;
  int workers = 1;  ///< threads; the output does not depend on their number
  LineEncoding encoding;
  BinarizeProgress progress;
};

struct BinarizeStatistics {
  int64_t sentences = 0;
  int64_t tokens = 0;    ///< with the end-of-sentence of each line
  int64_t replaced = 0;  ///< words that became <unk>
};

/// Encodes a text file. Every line gets an </s>; an empty line becomes `</s>` alone (a document
/// separator).
BinarizeStatistics binarize(const BinarizeOptions& options);

/// Counts the words (or BPE ids) of text files. Not yet sorted or cut: see Dictionary::finalize.
Dictionary build_dictionary(const std::vector<std::filesystem::path>& files, int workers,
                            const LineEncoding& encoding = {},
                            const BinarizeProgress& progress = {});

/// `fairseq-preprocess`: text of one language, or of both languages of a pair.
struct PreprocessOptions {
  /// Of a pair: `trainpref` then means the files `{trainpref}.{lang}`. Both empty: one text
  /// without a language.
  std::string source_lang, target_lang;
  std::string examples;      ///< jsonl | pairs, see preprocess_examples(); empty: other text
  bool only_source = false;  ///< of a pair: the source alone (a test set without a reference)
  std::string trainpref;     ///< text files, comma separated: the second becomes train1, and so on;
                             ///< may be empty
  std::string validpref;
  std::string testpref;
  std::filesystem::path destdir = "data-bin";
  std::filesystem::path srcdict;  ///< use this dict.txt instead of counting
  std::filesystem::path tgtdict;
  bool joined_dictionary = false;  ///< one dictionary for both languages; srcdict's limits hold
  int64_t thresholdsrc = 0;        ///< words with fewer occurrences become <unk>
  int64_t thresholdtgt = 0;
  int64_t nwordssrc = -1;  ///< most symbols, the four specials included; -1: all
  int64_t nwordstgt = -1;
  int64_t padding_factor = 8;
  bool dict_only = false;  ///< makes the dictionaries alone
  int workers = 1;
  std::filesystem::path
      gpt2_encoder_json;  ///< with gpt2_vocab_bpe: encode with this BPE on the fly
  std::filesystem::path gpt2_vocab_bpe;
  bool keep_whitespace = false;  ///< with a BPE, see LineEncoding
  /// Called with (name of the step such as "dictionary" or "train", bytes done, bytes in all).
  std::function<void(const std::string&, int64_t, int64_t)> progress;
};

struct PreprocessResult {
  int64_t dictionary_size = 0;         ///< of the source
  int64_t target_dictionary_size = 0;  ///< 0: there is no target
  struct Split {
    std::string name;  ///< of its files: train, train1, train.de-en.de, ...
    std::string lang;  ///< empty: none
    std::filesystem::path source;
    BinarizeStatistics statistics;
  };
  std::vector<Split> splits;
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
