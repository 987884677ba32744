#include "evomoe/config/validate_options.h"

#include <fmt/ranges.h>

#include "evomoe/base/error.h"
#include "evomoe/config/eval_bleu.h"

namespace evomoe {
namespace {

void validate_bpe_files(const BpeFiles& files) {
  const bool both = files.gpt2_encoder_json && files.gpt2_vocab_bpe;
  if (files.bpe && !both) {
    fail_usage(
        "--bpe {} needs --gpt2-encoder-json and --gpt2-vocab-bpe (`evomoe bpe train` makes both)",
        *files.bpe);
  }
  if (!files.bpe && (files.gpt2_encoder_json || files.gpt2_vocab_bpe)) {
    fail_usage("--gpt2-encoder-json and --gpt2-vocab-bpe need --bpe gpt2");
  }
}

void validate_filters(bool filtered, bool sampling) {
  if (filtered && !sampling) {
    fail_usage(
        "--sampling-topk and --sampling-topp need --sampling; without it the most probable token "
        "is taken");
  }
}

bool is_filtered(const GenerateOptions& options) {
  return options.sampling_topk.value_or(-1) != -1 || options.sampling_topp >= 0;
}

template <typename Options>
void validate_sampling(const Options& options) {
  if (options.sampling_topk == 0)
    fail_usage("--sampling-topk 0 leaves no token; use -1 for all, or at least 1");
  if (options.sampling_topp == 0)
    fail_usage("--sampling-topp 0 leaves no token; use -1 for all, or more than 0");
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

void validate_options(const EvalOptions& options) {
  validate_bpe_files(options.bpe);
  if (!options.bleu.eval_bleu && options.bleu != EvalBleuOptions()) {
    fail_usage(
        "--eval-bleu-... and --eval-tokenized-bleu need --eval-bleu, without which validate does "
        "what the training did; add it");
  }
  validate_bleu(options.bleu, options.validate_routing);
  if (options.tokens_per_sample && options.context_window >= *options.tokens_per_sample) {
    fail_usage(
        "--context-window {} leaves no token to score of --tokens-per-sample {}; make it smaller",
        options.context_window, *options.tokens_per_sample);
  }
}

void validate_options(const GenerateOptions& options) {
  validate_bpe_files(options.bpe);
  validate_sampling(options);
  validate_filters(is_filtered(options), options.sampling.value_or(true));
  if (options.search.max_len_a == 0 && options.min_len.value_or(0) > options.max_len)
    fail_usage("--min-len {} is more than --max-len {}", *options.min_len, options.max_len);
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
  const bool several = is_filtered(options) || options.num_samples > 1;
  if (!options.sampling) options.sampling = running_text || several;
  if (!options.sampling_topk) options.sampling_topk = 50;
  if (!options.ignore_eos) options.ignore_eos = running_text;
  return options;
}

void validate_prompts(const GenerateOptions& options) {
  const SearchFlags& search = options.search;
  const SearchFlags plain;
  if (search.beam != plain.beam || search.max_len_a != plain.max_len_a ||
      search.lenpen != plain.lenpen || search.unkpen != plain.unkpen || search.unnormalized ||
      search.no_repeat_ngram_size != plain.no_repeat_ngram_size || options.prefix_size > 0) {
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
  validate_filters(is_filtered(options), sampling);
  validate_hypotheses(options.num_samples, options.search.beam, sampling);
  if (options.keep_whitespace) fail_usage("--keep-whitespace is for prompts; leave it away");
  if (options.ignore_eos.value_or(false))
    fail_usage("--ignore-eos is for prompts; hypotheses of a search end with the end of sentence");
}

void validate_options(const InteractiveOptions& options) {
  validate_bpe_files(options.bpe);
  validate_sampling(options);
  validate_filters(options.sampling_topk != -1 || options.sampling_topp >= 0, options.sampling);
  validate_hypotheses(options.nbest, options.search.beam, options.sampling);
  if (options.search.max_len_a == 0 && options.min_len > options.max_len)
    fail_usage("--min-len {} is more than --max-len-b {}", options.min_len, options.max_len);
  if (options.search.batch_size.value_or(1) > options.buffer_size) {
    fail_usage(
        "--batch-size {} is more than --buffer-size {}, the lines that are read at a time; give "
        "--buffer-size {}",
        *options.search.batch_size, options.buffer_size, *options.search.batch_size);
  }
}

void validate_options(const ScoreOptions& options) {
  if (options.sacrebleu && options.sentence_bleu)
    fail_usage(
        "--sacrebleu and --sentence-bleu do not go together: sentences are scored as fairseq "
        "does");
  if (options.sacrebleu && options.order != 4)
    fail_usage("--order {}: sacreBLEU counts up to 4 words; leave it or --sacrebleu away",
               options.order);
  if (options.sys == "-" && options.ref == "-")
    fail_usage("--sys - and --ref -: only one of the two files can be stdin");
}

void validate_options(const PreprocessFlags& options) {
  validate_bpe_files(options.bpe);
  const bool pair = options.source_lang && options.target_lang && !options.only_source;
  if (options.target_lang && !options.source_lang) {
    fail_usage("--target-lang {} is given without --source-lang; give both", *options.target_lang);
  }
  if (options.examples && (options.source_lang || options.target_lang || options.only_source)) {
    fail_usage(
        "--examples {} has prompts and answers, which are no languages; leave --source-lang, "
        "--target-lang and --only-source out",
        *options.examples);
  }
  if (!pair && !options.only_source && !options.examples) {
    fail_usage(
        "evomoe preprocess: give --source-lang and --target-lang for pairs of sentences, "
        "--only-source for text of one language, or --examples for prompts with answers");
  }
  for (const auto& lang : {options.source_lang, options.target_lang}) {
    if (lang && (lang->empty() || lang->find_first_of("-./") != std::string::npos)) {
      fail_usage(
          "language `{}`: it becomes a part of file names such as train.de-en.de; use a name "
          "without `-`, `.` and `/`",
          *lang);
    }
  }
  if (!pair && (options.tgtdict || options.joined_dictionary || options.thresholdtgt != 0 ||
                options.nwordstgt != -1)) {
    fail_usage(
        "--tgtdict, --joined-dictionary, --thresholdtgt and --nwordstgt are for pairs of "
        "sentences; leave them out, or give --source-lang and --target-lang without --only-source");
  }
  const bool joined_given = options.joined_dictionary && (options.srcdict || options.tgtdict);
  if (options.joined_dictionary && options.srcdict && options.tgtdict) {
    fail_usage("--joined-dictionary means one dictionary; give --srcdict or --tgtdict, not both");
  }
  if (!options.trainpref && !options.srcdict && !joined_given) {
    fail_usage(
        "neither --trainpref nor --srcdict is given: there is nothing to make a dictionary from");
  }
  if (pair && !options.trainpref && !options.tgtdict && !joined_given) {
    fail_usage(
        "neither --trainpref nor --tgtdict is given: there is nothing to make the target's "
        "dictionary from");
  }
  if (!options.trainpref && !options.validpref && !options.testpref) {
    fail_usage(
        "none of --trainpref, --validpref and --testpref is given: there is no text to convert");
  }
}

void validate_options(const BpeFlags& options) {
  const bool both = options.gpt2_encoder_json && options.gpt2_vocab_bpe;
  if (options.action != "train" && !both) {
    fail_usage(
        "evomoe bpe {} needs --gpt2-encoder-json and --gpt2-vocab-bpe (`evomoe bpe train` makes "
        "both)",
        options.action);
  }
}

}  // namespace evomoe
