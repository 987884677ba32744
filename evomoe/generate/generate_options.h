#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "evomoe/parallel/distributed_options.h"
#include "evomoe/text/bpe_options.h"
#include "evomoe/train/process_options.h"
#include "evomoe/train/search_options.h"

namespace evomoe {

class OptionTable;

/// How hypotheses are found and written, of `generate` and `interactive`.
struct SearchFlags : BeamOptions {
  /// How subwords are joined to words: subword_nmt (or the joint, `@@ `) | sentencepiece |
  /// wordpiece | letter | none.
  std::optional<std::string> post_process;
  std::optional<int64_t> max_tokens;                    ///< of a batch
  std::optional<int64_t> batch_size;                    ///< sentences
  std::optional<std::string> source_lang, target_lang;  ///< must be the checkpoint's, where given
  std::optional<double> moe_eval_capacity_token_fraction;  ///< not given: the checkpoint's

  void describe(OptionTable& table);
};

/// `evomoe generate DATA --path CHECKPOINT` and `evomoe generate --path CHECKPOINT --prompt TEXT`.
struct GenerateOptions : SamplingOptions {
  std::optional<std::string> data;  ///< folder with dict.txt; not given: the one trained on
  std::string path;
  std::optional<std::string> prompt;
  std::string input = "-";         ///< file of prompts, one a line; - is stdin
  int64_t max_len = 200;           ///< new tokens
  std::optional<int64_t> min_len;  ///< not given: 1; behind prompts 0
  int64_t num_samples = 1;         ///< per prompt; hypotheses that are written of a sentence
  std::optional<bool> ignore_eos;  ///< not given: of a model of running text
  bool keep_whitespace = false;    ///< prompts are not stripped
  // of a split of a data-bin folder
  std::optional<std::string> gen_subset;  ///< not given: test of a translation; else prompts
  int64_t prefix_size = 0;                ///< target tokens that hypotheses begin with
  bool quiet = false;
  std::string scoring = "bleu";  ///< bleu | sacrebleu
  std::string sacrebleu_tokenizer = "13a";
  bool sacrebleu_lowercase = false;
  std::optional<std::string> results_path;  ///< folder of generate-SUBSET.txt
  int64_t required_batch_size_multiple = 8;
  bool truncate_source = false;
  bool skip_invalid_size_inputs_valid_test = false;
  SearchFlags search;
  std::string dtype = "float32";  ///< of the matrices
  BpeFiles bpe;
  CommonOptions common;
  DistributedOptions distributed;

  void describe(OptionTable& table);
};

/// `evomoe interactive DATA --path CHECKPOINT`.
struct InteractiveOptions : SamplingOptions {
  std::optional<std::string> data;
  std::string path;
  std::string input = "-";
  int64_t buffer_size = 1;  ///< lines that are read before they are translated
  int64_t max_len = 200;
  int64_t min_len = 1;
  int64_t nbest = 1;
  bool keep_whitespace = false;
  bool skip_invalid_size_inputs_valid_test = false;
  SearchFlags search;
  std::string dtype = "float32";  ///< of the matrices
  BpeFiles bpe;
  CommonOptions common;
  DistributedOptions distributed;

  InteractiveOptions() {
    sampling = false;
    sampling_topk = -1;
  }
  void describe(OptionTable& table);
};

// Combinations that cannot work are refused before any data is touched: a UsageError names the
// options, their values and the remedy.

void validate_options(const GenerateOptions& options);
/// What is done with prompts where the user does not say: a model of running text (blocks of it,
/// not lines) samples as transformers do, and goes on behind the ends of lines; others give the
/// most probable line.
GenerateOptions prompt_options(GenerateOptions options, bool running_text);
/// More for `generate` of prompts, and of a split of data: which it is the checkpoint may decide.
void validate_prompts(const GenerateOptions& options);
void validate_generation(const GenerateOptions& options);
void validate_options(const InteractiveOptions& options);

}  // namespace evomoe
