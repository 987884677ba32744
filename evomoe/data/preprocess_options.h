#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "evomoe/corpus/corpus_options.h"
#include "evomoe/text/bpe_options.h"

namespace evomoe {

/// `evomoe preprocess`: text of one language, of both languages of a pair, or prompts with answers.
/// With a BPE it is encoded on the fly.
struct PreprocessOptions : BpeFiles, CorpusOptions {
  /// Of a pair: `trainpref` then means the files `{trainpref}.{lang}`. Neither: one text without a
  /// language.
  std::optional<std::string> source_lang, target_lang;
  bool only_source = false;             ///< of a pair: the source alone (a test set)
  std::optional<std::string> examples;  ///< jsonl | pairs, see preprocess_examples()
  /// Files, patterns or folders (input_files()), comma separated: the second becomes train1, and so
  /// on.
  std::optional<std::string> trainpref, validpref, testpref;
  std::string destdir = "data-bin";
  std::optional<std::string> srcdict, tgtdict;  ///< a dict.txt to use instead of counting
  bool joined_dictionary = false;  ///< one dictionary for both languages; srcdict's limits hold
  int64_t thresholdsrc = 0;        ///< words with fewer occurrences become <unk>
  int64_t thresholdtgt = 0;
  int64_t nwordssrc = -1;  ///< most symbols, the four specials included; -1: all
  int64_t nwordstgt = -1;
  int64_t padding_factor = 8;
  bool dict_only = false;  ///< makes the dictionaries alone
  int64_t workers = 1;
  bool keep_whitespace = false;           ///< with a BPE, see LineEncoding
  bool document_lines = false;            ///< see Corpus
  std::string output_format = "fairseq";  ///< fairseq | megatron
  /// The token that ends a document in Megatron datasets that are read or written.
  std::optional<int64_t> megatron_eod;
  /// Called with (name of the step such as "dictionary" or "train", bytes done, bytes in all).
  std::function<void(const std::string&, int64_t, int64_t)> progress;

  void describe(OptionTable& table);
  bool writes_megatron() const { return output_format == "megatron"; }
};

/// Refuses what cannot work, before any file is touched: a UsageError.
void validate_options(const PreprocessOptions& options);

}  // namespace evomoe
