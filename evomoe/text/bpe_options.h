#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace evomoe {

class OptionTable;

/// The files of a byte-level BPE: GPT-2's, or a tokenizer of Hugging Face.
struct BpeFiles {
  std::optional<std::string> bpe;  ///< gpt2 | hf | none
  std::optional<std::string> gpt2_encoder_json;
  std::optional<std::string> gpt2_vocab_bpe;
  std::optional<std::string> hf_tokenizer;  ///< tokenizer.json, or the folder that has it

  /// Whether files are named; as validate_options() sees to, then all that are needed.
  bool given() const { return gpt2_encoder_json || hf_tokenizer; }
  void describe(OptionTable& table);
};

/// `evomoe bpe train|encode|decode`.
struct BpeFlags {
  std::string action;              ///< train | encode | decode
  std::vector<std::string> input;  ///< files or folders; none: stdin
  std::string output = "-";        ///< encode, decode: file; - is stdout
  std::string destdir = ".";       ///< train: folder of encoder.json and vocab.bpe
  int64_t vocab_size = 8192;       ///< train
  bool keep_whitespace = false;    ///< train: the ends of lines are not stripped
  /// encode, decode
  std::optional<std::string> gpt2_encoder_json, gpt2_vocab_bpe, hf_tokenizer;
  int64_t workers = 1;

  BpeFiles files() const;

  void describe(OptionTable& table);
};

/// Refuse what cannot work: a UsageError.
void validate_options(const BpeFiles& files);
void validate_options(const BpeFlags& options);

}  // namespace evomoe
