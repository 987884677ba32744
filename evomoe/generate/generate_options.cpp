#include "evomoe/generate/generate_options.h"

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/generate/evaluation_options.h"

namespace evomoe {
namespace {

void describe_keep_whitespace(OptionTable& table, bool& target) {
  table.add("keep-whitespace", &target,
            "White space at both ends of a text is encoded too, for a model whose data was made "
            "with it (preprocess --keep-whitespace).");
}

/// How hypotheses are found and written, and what the process is told.
template <typename Options>
void describe_how(OptionTable& table, Options& o) {
  o.search.describe(table);
  o.bpe.describe(table);
  o.common.describe_of_result(table);
  table.add("seed", &o.common.seed, "Of sampling.").at_least(0);
  o.distributed.describe_of_result(table);
}

void validate_hypotheses(int64_t nbest, int64_t beam, bool sampling) {
  if (nbest > beam)
    fail_usage("--nbest {} is more than the {} hypotheses that are found; raise --beam", nbest,
               beam);
  if (sampling && nbest != beam) {
    fail_usage(
        "--sampling draws --beam {} hypotheses, of which none is the best; ask for all with "
        "--nbest {}",
        beam, beam);
  }
}

}  // namespace

void SearchFlags::describe(OptionTable& table) {
  table.group("search", "Search of hypotheses");
  BeamOptions::describe(table);
  add_post_process(table, "post-process", post_process,
                   "How symbols are joined to words in what is written")
      .alias("remove-bpe");
  table.add("max-tokens", &max_tokens, "Most tokens of a batch.").at_least(1);
  table.add("batch-size", &batch_size, "Most sentences of a batch.")
      .alias("max-sentences")
      .at_least(1);
  table
      .add("source-lang", &source_lang,
           "Source language. It must be the checkpoint's, which is the default.")
      .alias("s")
      .metavar("LANG");
  table.add("target-lang", &target_lang, "Target language; likewise.").alias("t").metavar("LANG");
  table.add("moe-eval-capacity-token-fraction", &moe_eval_capacity_token_fraction,
            "Capacity as a fraction of the tokens; not given: as in training.");
}

void GenerateOptions::describe(OptionTable& table) {
  table
      .positional("data", &data,
                  "data-bin folder of the split to translate; with prompts a folder with dict.txt. "
                  "Not given: the one trained on.")
      .metavar("DATA");
  describe_checkpoint_path(table, path);
  describe_dtype(table, dtype);
  table.add(
      "prompt", &prompt,
      "Text to continue, for a language model. An end of line within is an end of sentence, as "
      "in training.");
  table
      .add(
          "input", &input,
          "File of prompts, one a line (\\n, \\r\\n or \\r ends it); -: stdin. Not read when there "
          "is a prompt.")
      .metavar("FILE");
  table
      .add("gen-subset", &gen_subset,
           "Split to translate, or whose items a language model continues; not given: test for a "
           "translation model, else prompts are continued.")
      .metavar("NAME");
  table
      .add("max-len", &max_len,
           "Most new tokens. Prompts: when prompt and text fill the model's positions, only "
           "their second half is kept as context.")
      .alias("max-len-b")
      .at_least(1);
  table.add("min-len", &min_len, "Fewest new tokens; not given: 1, for prompts 0.").at_least(0);
  SamplingOptions::describe(
      table,
      {.sampling =
           "Samples instead of taking the most probable tokens. Not given: prompts of a "
           "model of running text (--sample-break-mode not eos) are sampled, and those with "
           "--sampling-topk, --sampling-topp or several --num-samples.",
       .top_k =
           "Samples from so many most probable tokens; -1: from all; not given: 50 for prompts, "
           "as in transformers, else all."});
  table.shorthand("greedy", "sampling", "false", "Takes the most probable token each time.");
  table
      .add("num-samples", &num_samples,
           "Continuations of each prompt; hypotheses that are written of each sentence.")
      .alias("nbest")
      .at_least(1);
  table.add("ignore-eos", &ignore_eos,
            "Prompts: goes on after an end of sentence, which is written as an end of line. Not "
            "given: for a model of running text.");
  table.shorthand("stop-at-eos", "ignore-eos", "false", "Prompts: ends with the sentence.");
  describe_keep_whitespace(table, keep_whitespace);
  table
      .add("prefix-size", &prefix_size,
           "Hypotheses begin with this number of tokens of the "
           "target.")
      .at_least(0);
  table.add("quiet", &quiet, "Writes the final score only.");
  table
      .add("scoring", &scoring,
           "BLEU of the best hypotheses: bleu, of tokens or words as fairseq; sacrebleu, of text.")
      .choices({"bleu", "sacrebleu"});
  table.shorthand("sacrebleu", "scoring", "sacrebleu", "BLEU as sacreBLEU counts it.");
  table.add("sacrebleu-tokenizer", &sacrebleu_tokenizer, "How text is split for sacrebleu.")
      .choices({"13a", "none", "intl", "char"});
  table.add("sacrebleu-lowercase", &sacrebleu_lowercase,
            "sacrebleu ignores upper and lower "
            "case.");
  table
      .add("results-path", &results_path,
           "Folder for generate-SUBSET.txt, which gets the lines instead of stdout.")
      .metavar("FOLDER");
  table
      .add("required-batch-size-multiple", &required_batch_size_multiple,
           "Sentences of a batch are a multiple of this, where max-tokens limits it.")
      .at_least(1);
  table.add("truncate-source", &truncate_source,
            "translation: cuts sources to the model's positions; not given: as in training.");
  table.add("skip-invalid-size-inputs-valid-test", &skip_invalid_size_inputs_valid_test,
            "Leaves out items that are longer than the model's positions or max-tokens, with a "
            "warning; not given: they are an error.");
  describe_how(table, *this);
  table.example(
      "evomoe generate data-bin --path runs/a/checkpoint_best --beam 5 --batch-size 128 "
      "--remove-bpe",
      "translations of the test split, and their BLEU");
  table.example(
      "evomoe generate --path runs/a/checkpoint_best --prompt 'def main(' --max-len 100 "
      "--temperature 0.8",
      "one sampled continuation");
  add_legacy_flags_of_evaluation(table, "generate");
}

void InteractiveOptions::describe(OptionTable& table) {
  table.positional("data", &data, "Folder with the dictionaries; not given: the one trained on.")
      .metavar("DATA");
  describe_checkpoint_path(table, path);
  describe_dtype(table, dtype);
  table
      .add("input", &input,
           "File to translate, line by line (\\n, \\r\\n or \\r ends one); -: stdin.")
      .metavar("FILE")
      .of_each_rank();
  table
      .add("buffer-size", &buffer_size,
           "Lines that are read before they are translated, shortest first; 0: one.")
      .synonyms({{"0", "1"}})
      .at_least(1);
  table.add("max-len-b", &max_len, "Most new tokens.").at_least(1);
  table.add("min-len", &min_len, "Fewest new tokens.").at_least(0);
  SamplingOptions::describe(table);
  table.add("nbest", &nbest, "Hypotheses that are written of each line.").at_least(1);
  describe_keep_whitespace(table, keep_whitespace);
  table.add("skip-invalid-size-inputs-valid-test", &skip_invalid_size_inputs_valid_test,
            "Leaves out lines that are longer than the model's positions or --max-tokens, with a "
            "warning; not given: the first such line is an error, after the lines before it are "
            "translated.");
  describe_how(table, *this);
  table.example(
      "evomoe interactive data-bin --path runs/a/checkpoint_best --input news.de --buffer-size 64 "
      "--batch-size 64 --remove-bpe",
      "a file of text");
  add_legacy_flags_of_evaluation(table, "interactive");
}

void validate_options(const GenerateOptions& options) {
  validate_options(options.bpe);
  options.SamplingOptions::validate(/*samples=*/true);
  validate_lengths(options.search, options.min_len.value_or(0), options.max_len, "--max-len");
  if (options.gen_subset && (options.prompt || options.input != "-")) {
    fail_usage(
        "--gen-subset {} and prompts (--prompt, --input) do not go together; leave one of them "
        "away",
        *options.gen_subset);
  }
  if (options.gen_subset && !options.data)
    fail_usage("--gen-subset {} is a split of DATA: name the data-bin folder", *options.gen_subset);
}

GenerateOptions prompt_options(GenerateOptions options, bool running_text) {
  const bool several = options.is_filtered() || options.num_samples > 1;
  if (!options.sampling) options.sampling = running_text || several;
  if (!options.sampling_topk) options.sampling_topk = 50;
  if (!options.ignore_eos) options.ignore_eos = running_text;
  return options;
}

void validate_prompts(const GenerateOptions& options) {
  if (static_cast<const BeamOptions&>(options.search) != BeamOptions() || options.prefix_size > 0) {
    fail_usage(
        "prompts are continued by the most probable token or by --sampling, without a search: "
        "leave --beam, --max-len-a, --lenpen, --unkpen, --unnormalized, --no-repeat-ngram-size and "
        "--prefix-size away, or name a split of DATA with --gen-subset");
  }
  if (options.num_samples > 1 && !options.sampling.value_or(true)) {
    fail_usage("--num-samples {} needs --sampling; without it all would be equal",
               options.num_samples);
  }
}

void validate_generation(const GenerateOptions& options) {
  const bool sampling = options.sampling.value_or(false);
  options.SamplingOptions::validate(/*samples=*/false);
  validate_hypotheses(options.num_samples, options.search.beam, sampling);
  if (options.keep_whitespace) fail_usage("--keep-whitespace is for prompts; leave it away");
  if (options.ignore_eos.value_or(false))
    fail_usage("--ignore-eos is for prompts; hypotheses of a search end with the end of sentence");
}

void validate_options(const InteractiveOptions& options) {
  validate_options(options.bpe);
  options.SamplingOptions::validate(/*samples=*/false);
  validate_hypotheses(options.nbest, options.search.beam, options.sampling.value_or(false));
  validate_lengths(options.search, options.min_len, options.max_len, "--max-len-b");
  if (options.search.batch_size.value_or(1) > options.buffer_size) {
    fail_usage(
        "--batch-size {} is more than --buffer-size {}, the lines that are read at a time; give "
        "--buffer-size {}",
        *options.search.batch_size, options.buffer_size, *options.search.batch_size);
  }
}

}  // namespace evomoe
