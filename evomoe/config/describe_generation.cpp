// Options of generate, interactive and score.
#include "evomoe/config/describe.h"
#include "evomoe/config/describe_groups.h"
#include "evomoe/config/legacy_flags.h"

namespace evomoe {
namespace {

void describe_beam(OptionTable& table, SearchFlags& o) {
  table.add("beam", &o.beam, "Hypotheses that are kept at each step.").range(1, 1 << 16);
  table
      .add("max-len-a", &o.max_len_a,
           "Most tokens of a hypothesis: this times the source's tokens + --max-len-b.")
      .at_least(0);
  table.add("lenpen", &o.lenpen,
            "Scores are divided by length ^ this: values below 1 favour short hypotheses, above "
            "1 long ones.");
  table.add("unkpen", &o.unkpen, "Subtracted from the score for each unknown word.");
  table.add("unnormalized", &o.unnormalized, "Scores are not divided by the length.");
  table
      .add("no-repeat-ngram-size", &o.no_repeat_ngram_size,
           "No sequence of this many tokens appears twice in a hypothesis; 0: no limit.")
      .at_least(0);
}

/// How subwords are joined to words.
Option& post_process(OptionTable& table, const std::string& name,
                     std::optional<std::string>& target, const std::string& help) {
  return table.add(name, &target, help + "; without a value: subword_nmt.")
      .choices({"subword_nmt", "@@ ", "@@", "sentencepiece", "wordpiece", "letter", "_EOW",
                "silence", "none"})
      .bare("subword_nmt");
}

void describe_search(OptionTable& table, SearchFlags& o) {
  table.group("search", "Search of hypotheses");
  describe_beam(table, o);
  post_process(table, "post-process", o.post_process,
               "How symbols are joined to words in what is written")
      .alias("remove-bpe");
  table.add("max-tokens", &o.max_tokens, "Most tokens of a batch.").at_least(1);
  table.add("batch-size", &o.batch_size, "Most sentences of a batch.")
      .alias("max-sentences")
      .at_least(1);
  table
      .add("source-lang", &o.source_lang,
           "Source language. It must be the checkpoint's, which is the default.")
      .alias("s")
      .metavar("LANG");
  table.add("target-lang", &o.target_lang, "Target language; likewise.").alias("t").metavar("LANG");
  table.add("moe-eval-capacity-token-fraction", &o.moe_eval_capacity_token_fraction,
            "Capacity as a fraction of the tokens; not given: as in training.");
}

/// What the help says of sampling, which prompts do otherwise than searches.
struct SamplingHelp {
  std::string sampling = "Samples instead of taking the most probable tokens.";
  std::string top_k = "Samples from this number of most probable tokens; -1: from all.";
};

template <typename Options>
void describe_sampling(OptionTable& table, Options& o, const SamplingHelp& help = {}) {
  table.add("sampling", &o.sampling, help.sampling);
  table
      .add("temperature", &o.temperature,
           "Temperature of the distribution of tokens; below 1: "
           "probable tokens become more probable.")
      .above(0);
  table.add("sampling-topk", &o.sampling_topk, help.top_k).at_least(-1);
  table
      .add("sampling-topp", &o.sampling_topp,
           "Samples from the most probable tokens that have this share of the probability together "
           "(of what --sampling-topk leaves: both hold); below 0: from all.")
      .range(-1, 1);
}

void describe_keep_whitespace(OptionTable& table, bool& target) {
  table.add("keep-whitespace", &target,
            "White space at both ends of a text is encoded too, for a model whose data was made "
            "with it (preprocess --keep-whitespace).");
}

/// The reference's flags for both that mean nothing here, or are not supported.
void describe_legacy_generation(OptionTable& table) {
  LegacyFlags flags(table);
  flags.passed_over_with_value(
      {"num-workers", "required-batch-size-multiple"},
      "batches are made where they are read, as --batch-size and --max-tokens say");
  flags.passed_over_with_value({"valid-subset"}, "--gen-subset names the split");
  flags.passed_over({"is-moe"}, "the checkpoint says what it is");
  flags.passed_over({"fp16"}, "models are evaluated in float32");
  flags.passed_over({"no-early-stop"}, "it has no effect in the reference either");
  flags.passed_over({"no-beamable-mm", "quiet"}, "it does not change what is written");
  flags.passed_over_with_value({"results-path"}, "what is written goes to stdout");
  flags.passed_over({"sacrebleu"}, "nothing is scored");
  flags.passed_over_with_value({"prefix-size"}, "there are no targets to begin with");
  flags.refused({"print-alignment"},
                "attention is not kept; align the S- and D- lines with a word aligner "
                "(fast_align)");
  flags.refused({"replace-unk"},
                "it needs alignments; use subwords (evomoe bpe), which leave no word unknown");
  flags.refused({"match-source-len"}, "bound lengths with --min-len, --max-len-a and --max-len-b");
  constexpr const char* kDifferent = "for different hypotheses use --sampling --nbest";
  flags.passed_over_with_value({"diverse-beam-groups"}, kDifferent, {"-1"});
  flags.passed_over_with_value({"diverse-beam-strength"}, kDifferent, {"0.5"});
  flags.passed_over_with_value({"diversity-rate"}, kDifferent, {"-1", "-1.0"});
  flags.refused({"constraints"}, "constrained decoding is not supported; see --prefix-size");
  flags.refused({"score-reference"}, "`evomoe validate` gives the loss of the references");
  flags.refused_with_value({"lm-path"}, "a language model is not added to the scores");
  flags.passed_over_with_value({"lm-weight"}, "a language model is not added to the scores",
                               {"0", "0.0"});
  flags.refused({"retain-dropout"}, "models are evaluated without dropout");
  flags.refused_with_value({"retain-dropout-modules"}, "models are evaluated without dropout");
  constexpr const char* kIterative = "there are no iterative models here";
  flags.refused({"print-step", "iter-decode-force-max-iter", "iter-decode-with-external-reranker",
                 "retain-iter-history"},
                kIterative);
  flags.passed_over_with_value({"iter-decode-eos-penalty", "iter-decode-max-iter",
                                "iter-decode-with-beam", "decoding-format"},
                               kIterative);
  flags.passed_over_with_value({"model-overrides"},
                               "give the options themselves; the checkpoint has the rest", {"{}"});
}

/// How hypotheses are found and written, and what the process is told.
template <typename Options>
void describe_how(OptionTable& table, Options& o) {
  describe_search(table, o.search);
  describe_bpe_files(table, o.bpe);
  describe_process(table, o.common);
  table.add("seed", &o.common.seed, "Of sampling.").at_least(0);
  describe_legacy_generation(table);
}

}  // namespace

void describe_checkpoints(OptionTable& table, std::string& path) {
  table
      .add("path", &path,
           "Checkpoint, ours or fairseq's (x.pt), or several as a:b:c, whose probabilities are "
           "averaged.")
      .metavar("CHECKPOINT")
      .required();
}

void describe_eval_bleu(OptionTable& table, EvalBleuOptions& o) {
  table.add("eval-bleu", &o.eval_bleu,
            "Each validation translates, and logs the BLEU as sacreBLEU counts it; "
            "--best-checkpoint-metric bleu --maximize-best-checkpoint-metric keeps the best. In "
            "`validate` the default is that of the training.");
  table
      .add("eval-bleu-args", &o.eval_bleu_args,
           "How --eval-bleu searches, as JSON with the names of generate's options: beam, "
           "max_len_a, max_len_b, lenpen, ...")
      .metavar("JSON");
  table
      .add("eval-bleu-detok", &o.eval_bleu_detok,
           "How --eval-bleu joins words to text: space and nltk leave them, moses undoes Moses' "
           "tokenizer.")
      .choices({"space", "moses", "nltk"});
  table
      .add("eval-bleu-detok-args", &o.eval_bleu_detok_args,
           R"(For moses, as JSON: {"target_lang": "fr"} for the rules of French; not given: those )"
           "of English, as in fairseq, whatever the target.")
      .metavar("JSON");
  table.add("eval-tokenized-bleu", &o.eval_tokenized_bleu,
            "--eval-bleu counts words between white space, not those of sacreBLEU's 13a.");
  post_process(table, "eval-bleu-remove-bpe", o.eval_bleu_remove_bpe,
               "How --eval-bleu joins subwords to words");
  table.add("eval-bleu-print-samples", &o.eval_bleu_print_samples,
            "--eval-bleu logs a hypothesis and its reference of each batch.");
}

void describe_bleu_search(OptionTable& table, GenerateOptions& o) {
  describe_beam(table, o.search);
  table.add("max-len-b", &o.max_len, "").at_least(1);
  table.add("min-len", &o.min_len, "").at_least(0);
  describe_sampling(table, o);
}

void describe_own(OptionTable& table, GenerateOptions& o) {
  table
      .positional("data", &o.data,
                  "data-bin folder of the split to translate; with prompts a folder with dict.txt. "
                  "Not given: the one trained on.")
      .metavar("DATA");
  describe_checkpoints(table, o.path);
  table.add(
      "prompt", &o.prompt,
      "Text to continue, for a language model. An end of line within is an end of sentence, as "
      "in training.");
  table
      .add(
          "input", &o.input,
          "File of prompts, one a line (\\n, \\r\\n or \\r ends it); -: stdin. Not read when there "
          "is a prompt.")
      .metavar("FILE");
  table
      .add("gen-subset", &o.gen_subset,
           "Split to translate, or whose items a language model continues; not given: test for a "
           "translation model, else prompts are continued.")
      .metavar("NAME");
  table
      .add("max-len", &o.max_len,
           "Most new tokens. Prompts: when prompt and text fill the model's positions, only "
           "their second half is kept as context.")
      .alias("max-len-b")
      .at_least(1);
  table.add("min-len", &o.min_len, "Fewest new tokens; not given: 1, for prompts 0.").at_least(0);
  describe_sampling(
      table, o,
      {.sampling =
           "Samples instead of taking the most probable tokens. Not given: prompts of a "
           "model of running text (--sample-break-mode not eos) are sampled, and those with "
           "--sampling-topk, --sampling-topp or several --num-samples.",
       .top_k =
           "Samples from so many most probable tokens; -1: from all; not given: 50 for prompts, "
           "as in transformers, else all."});
  table.shorthand("greedy", "sampling", "false", "Takes the most probable token each time.");
  table
      .add("num-samples", &o.num_samples,
           "Continuations of each prompt; hypotheses that are written of each sentence.")
      .alias("nbest")
      .at_least(1);
  table.add("ignore-eos", &o.ignore_eos,
            "Prompts: goes on after an end of sentence, which is written as an end of line. Not "
            "given: for a model of running text.");
  table.shorthand("stop-at-eos", "ignore-eos", "false", "Prompts: ends with the sentence.");
  describe_keep_whitespace(table, o.keep_whitespace);
  table
      .add("prefix-size", &o.prefix_size,
           "Hypotheses begin with this number of tokens of the "
           "target.")
      .at_least(0);
  table.add("quiet", &o.quiet, "Writes the final score only.");
  table
      .add("scoring", &o.scoring,
           "BLEU of the best hypotheses: bleu, of tokens or words as fairseq; sacrebleu, of text.")
      .choices({"bleu", "sacrebleu"});
  table.shorthand("sacrebleu", "scoring", "sacrebleu", "BLEU as sacreBLEU counts it.");
  table.add("sacrebleu-tokenizer", &o.sacrebleu_tokenizer, "How text is split for sacrebleu.")
      .choices({"13a", "none", "intl", "char"});
  table.add("sacrebleu-lowercase", &o.sacrebleu_lowercase,
            "sacrebleu ignores upper and lower "
            "case.");
  table
      .add("results-path", &o.results_path,
           "Folder for generate-SUBSET.txt, which gets the lines instead of stdout.")
      .metavar("FOLDER");
  table
      .add("required-batch-size-multiple", &o.required_batch_size_multiple,
           "Sentences of a batch are a multiple of this, where max-tokens limits it.")
      .at_least(1);
  table.add("truncate-source", &o.truncate_source,
            "translation: cuts sources to the model's positions; not given: as in training.");
  table.add("skip-invalid-size-inputs-valid-test", &o.skip_invalid_size_inputs_valid_test,
            "Leaves out items that are longer than the model's positions or max-tokens, with a "
            "warning; not given: they are an error.");
  describe_how(table, o);
  table.example(
      "evomoe generate data-bin --path runs/a/checkpoint_best --beam 5 --batch-size 128 "
      "--remove-bpe",
      "translations of the test split, and their BLEU");
  table.example(
      "evomoe generate --path runs/a/checkpoint_best --prompt 'def main(' --max-len 100 "
      "--temperature 0.8",
      "one sampled continuation");
}

void describe_own(OptionTable& table, InteractiveOptions& o) {
  table.positional("data", &o.data, "Folder with the dictionaries; not given: the one trained on.")
      .metavar("DATA");
  describe_checkpoints(table, o.path);
  table
      .add("input", &o.input,
           "File to translate, line by line (\\n, \\r\\n or \\r ends one); -: stdin.")
      .metavar("FILE");
  table
      .add("buffer-size", &o.buffer_size,
           "Lines that are read before they are translated, shortest first; 0: one.")
      .synonyms({{"0", "1"}})
      .at_least(1);
  table.add("max-len-b", &o.max_len, "Most new tokens.").at_least(1);
  table.add("min-len", &o.min_len, "Fewest new tokens.").at_least(0);
  describe_sampling(table, o);
  table.add("nbest", &o.nbest, "Hypotheses that are written of each line.").at_least(1);
  describe_keep_whitespace(table, o.keep_whitespace);
  table.add("skip-invalid-size-inputs-valid-test", &o.skip_invalid_size_inputs_valid_test,
            "Leaves out lines that are longer than the model's positions or --max-tokens, with a "
            "warning; not given: the first such line is an error, after the lines before it are "
            "translated.");
  LegacyFlags flags(table);
  flags.passed_over({"truncate-source"}, "lines are read whole, as the reference does");
  flags.passed_over_with_value({"valid-subset"}, "lines are read from --input");
  describe_how(table, o);
  table.example(
      "evomoe interactive data-bin --path runs/a/checkpoint_best --input news.de --buffer-size 64 "
      "--batch-size 64 --remove-bpe",
      "a file of text");
}

void describe(OptionTable& table, ScoreOptions& o) {
  table.add("sys", &o.sys, "Translations, one a line; -: stdin.").alias("s").metavar("FILE");
  table.add("ref", &o.ref, "Their references; -: stdin.").alias("r").metavar("FILE").required();
  table.add("order", &o.order, "Longest n-gram that is counted.").alias("o").range(1, 4);
  table.add("ignore-case", &o.ignore_case, "Ignores upper and lower case.");
  table.add("sacrebleu", &o.sacrebleu,
            "BLEU as sacreBLEU counts it, of text; not given: as fairseq, of words between white "
            "space.");
  table.add("sacrebleu-tokenizer", &o.sacrebleu_tokenizer, "How text is split for --sacrebleu.")
      .choices({"13a", "none", "intl", "char"});
  table.add("sentence-bleu", &o.sentence_bleu, "BLEU of each line, smoothed by adding one match.");
  table.example("evomoe score --sys out.de --ref test.de --sacrebleu", "the number for a paper");
}

}  // namespace evomoe
