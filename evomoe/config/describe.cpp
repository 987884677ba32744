#include "evomoe/config/describe.h"

#include "evomoe/base/error.h"
#include "evomoe/config/describe_groups.h"
#include "evomoe/config/legacy_flags.h"

namespace evomoe {
namespace {

void describe_evaluation(OptionTable& table, EvalOptions& o) {
  table.positional("data", &o.data, "data-bin folder, or several as a:b:c.")
      .metavar("DATA")
      .required();
  table.add("max-tokens", &o.max_tokens, "Most tokens of a batch; not given: as in training.")
      .at_least(1);
  table.add("batch-size", &o.batch_size, "Most sequences of a batch; not given: as in training.")
      .alias("max-sentences")
      .at_least(1);
  table.add("max-valid-steps", &o.max_valid_steps, "Batches to evaluate.")
      .alias("nval")
      .at_least(1);
  table
      .add("tokens-per-sample", &o.tokens_per_sample,
           "Longest sequence; not given: as in training.")
      .range(1, 1 << 20);
  table
      .add("sample-break-mode", &o.sample_break_mode,
           "How the text is cut; not given: as in training.")
      .choices({"none", "complete", "complete_doc", "eos"});
  table.add("moe-eval-capacity-token-fraction", &o.moe_eval_capacity_token_fraction,
            "Capacity as a fraction of the tokens; not given: as in training.");
  table.legacy({"seed", true, {}, "random numbers follow from the run's own seed", false});
  LegacyFlags flags(table);
  flags.passed_over({"is-moe"}, "the checkpoint says what it is");
  flags.passed_over({"quiet"}, "the result is all that is printed");
  flags.passed_over_with_value({"results-path"}, "the result is printed");
  flags.passed_over_with_value({"model-overrides"},
                               "give the options themselves; the checkpoint has the rest", {"{}"});
}

}  // namespace

const std::vector<CommandSummary>& command_summaries() {
  static const std::vector<CommandSummary> summaries = {
      {"bpe", "trains a byte-level BPE on text, or encodes and decodes with one"},
      {"preprocess", "makes a dictionary and a data-bin folder from text"},
      {"train",
       "trains a Transformer (language model, masked language model, translation), dense or with "
       "experts"},
      {"validate", "computes the validation loss of a checkpoint"},
      {"eval-lm", "computes the perplexity of text under a checkpoint"},
      {"generate", "translates a split of data, or continues prompts, with a checkpoint"},
      {"interactive", "translates lines of text with a checkpoint"},
      {"score", "computes the BLEU of translations"},
      {"convert", "makes a run folder of a checkpoint of fairseq, or the other way round"},
      {"info", "shows what a checkpoint holds"},
      {"compare", "compares run folders: a table, and conclusions in sentences"},
      {"plot", "draws the curves of run folders into an SVG file"},
      {"bench", "measures speed and memory, beside this machine's own peak"},
      {"options", "prints all options: reference page, manual pages, shell completions"},
  };
  return summaries;
}

std::string command_summary(const std::string& name) {
  for (const auto& command : command_summaries()) {
    if (command.name == name) return command.summary;
  }
  fail("there is no command '{}'", name);
}

void describe_bpe_files(OptionTable& table, BpeFiles& o) {
  table.add("bpe", &o.bpe, "How text becomes symbols; not given: it is split at spaces.")
      .choices({"gpt2"});
  table.add("gpt2-encoder-json", &o.gpt2_encoder_json, "encoder.json of the BPE.").metavar("FILE");
  table.add("gpt2-vocab-bpe", &o.gpt2_vocab_bpe, "vocab.bpe of the BPE.").metavar("FILE");
}

void describe_own_validate(OptionTable& table, EvalOptions& o) {
  describe_evaluation(table, o);
  table.add("path", &o.path, "Checkpoint, ours or fairseq's (x.pt).")
      .metavar("CHECKPOINT")
      .required();
  table.add("skip-invalid-size-inputs-valid-test", &o.skip_invalid_size_inputs_valid_test,
            "Leaves out sequences that are longer than the model's positions or max-tokens, with a "
            "warning; not given: as in training, where they are an error without it.");
  table
      .add("max-source-positions", &o.max_source_positions,
           "translation: longest source; not given: as in training.")
      .at_least(1);
  table
      .add("max-target-positions", &o.max_target_positions,
           "Longest sequence (translation: target); not given: as in training.")
      .at_least(1);
  table
      .add("max-positions", &o.max_positions,
           "RoBERTa: longest sequence; not given: as in training.")
      .at_least(1);
  table.add("valid-subset", &o.valid_subset, "Splits to validate on.").metavar("NAME,...");
  table
      .add("required-batch-size-multiple", &o.required_batch_size_multiple,
           "Sequences of a batch are a multiple of this, where max-tokens limits it; not given: as "
           "in training.")
      .at_least(1);
  table.add("truncate-source", &o.truncate_source,
            "translation: cuts sources to the model's positions; not given: as in training.");
  describe_validate_routing(table, o.validate_routing);
  table.add("num-workers", &o.num_workers, "Threads that prepare batches ahead; 0: none.")
      .range(0, 256);
  describe_eval_bleu(table, o.bleu);
  describe_process(table, o.common);
  LegacyFlags(table).passed_over({"post-process", "remove-bpe"}, "no text is written");
  table.example("evomoe validate data-bin --path runs/a/checkpoint_best",
                "the best checkpoint of a run");
}

void describe_own_eval_lm(OptionTable& table, EvalOptions& o) {
  describe_evaluation(table, o);
  describe_checkpoints(table, o.path);
  table.add("gen-subset", &o.gen_subset, "Split to evaluate.").metavar("NAME");
  table
      .add("context-window", &o.context_window,
           "Tokens of earlier text that each sequence is prefixed with, unscored.")
      .at_least(0);
  table.add("output-word-probs", &o.output_word_probs,
            "Prints, for each line of text, its words with the binary logarithm of their "
            "probability. A word is a run of characters without white space; its tokens are "
            "joined.");
  table.add("output-word-stats", &o.output_word_stats,
            "Prints each word, how often it comes, and the mean of that logarithm.");
  table
      .add("stats-path", &o.stats_path,
           "JSON file for the results; `.json` is appended to the name.")
      .alias("sp")
      .metavar("FILE");
  describe_bpe_files(table, o.bpe);
  describe_process(table, o.common);
  LegacyFlags flags(table);
  flags.passed_over_with_value({"num-workers"}, "blocks are read where they are scored");
  flags.passed_over_with_value(
      {"required-batch-size-multiple"},
      "sequences are scored in the order of the text, as many as --batch-size or --max-tokens "
      "says");
  flags.passed_over({"truncate-source"}, "a language model has no sources");
  flags.passed_over({"skip-invalid-size-inputs-valid-test"},
                    "sequences that are longer than the model's positions are left out, with a "
                    "warning");
  flags.passed_over_with_value({"valid-subset"}, "--gen-subset names the split");
  flags.passed_over_with_value({"softmax-batch"}, "the loss is computed in parts anyway");
  flags.refused({"post-process", "remove-bpe"},
                "words are joined by the BPE that --bpe gpt2 names; other pieces stay as they are");
  table.example("evomoe eval-lm data-bin --path runs/a/checkpoint_best --context-window 256",
                "perplexity with context across sequences");
}

void describe(OptionTable& table, PreprocessFlags& o) {
  table
      .add("source-lang", &o.source_lang,
           "Language of the source: the text is in FILE.LANG. Not given (with --only-source): one "
           "text without a language.")
      .alias("s")
      .metavar("LANG");
  table.add("target-lang", &o.target_lang, "Language of the target.").alias("t").metavar("LANG");
  table.add("only-source", &o.only_source,
            "Text of one language; with --source-lang: sources without targets, to be translated.");
  table
      .add("examples", &o.examples,
           "Prompts with answers, for --task supervised_finetuning. jsonl: each line of FILE is an "
           "object with prompt and answer (or completion, response), or with messages. pairs: line "
           "n of FILE.answer answers line n of FILE.prompt.")
      .choices({"jsonl", "pairs"});
  table.add("trainpref", &o.trainpref, "Training text; several files as a,b,c.").metavar("FILE");
  table.add("validpref", &o.validpref, "Validation text; further files become valid1, valid2, ...")
      .metavar("FILE");
  table.add("testpref", &o.testpref, "Test text; further files become test1, test2, ...")
      .metavar("FILE");
  table.add("destdir", &o.destdir, "Folder to make.").metavar("FOLDER");
  table.add("srcdict", &o.srcdict, "Dictionary to use instead of making one.").metavar("FILE");
  table.add("tgtdict", &o.tgtdict, "The same of the target.").metavar("FILE");
  table.add("joined-dictionary", &o.joined_dictionary,
            "One dictionary for both languages, as shared embeddings need it; --nwordssrc and "
            "--thresholdsrc apply.");
  table.add("thresholdsrc", &o.thresholdsrc, "Symbols rarer than this become <unk>.").at_least(0);
  table.add("thresholdtgt", &o.thresholdtgt, "The same of the target.").at_least(0);
  table.add("nwordssrc", &o.nwordssrc, "Most symbols of the dictionary; -1: all.").at_least(-1);
  table.add("nwordstgt", &o.nwordstgt, "The same of the target.").at_least(-1);
  table.add("padding-factor", &o.padding_factor, "The dictionary's size is a multiple of this.")
      .range(1, 1 << 16);
  table.add("dict-only", &o.dict_only, "Makes the dictionaries alone.");
  table.add("workers", &o.workers, "Threads; the result does not depend on it.").range(1, 1024);
  describe_bpe_files(table, o.bpe);
  table.add("keep-whitespace", &o.keep_whitespace,
            "With --bpe: encodes the white space at both ends of lines too (the indentation of "
            "source code); not given: lines are stripped, as fairseq's encoder does.");
  LegacyFlags flags(table);
  flags.passed_over_with_value({"dataset-impl"}, "data is written in the mmap format", {"mmap"});
  flags.refused_with_value({"alignfile", "align-suffix"},
                           "word alignments are not read; leave it out");
  describe_legacy_preprocess(table);
  table.example(
      "evomoe preprocess --only-source --trainpref train.txt --validpref valid.txt --destdir "
      "data-bin",
      "words between spaces");
  table.example(
      "evomoe preprocess --only-source --bpe gpt2 --gpt2-encoder-json bpe/encoder.json "
      "--gpt2-vocab-bpe bpe/vocab.bpe "
      "--trainpref train.txt --validpref valid.txt --destdir data-bin",
      "raw text through a BPE");
  table.example(
      "evomoe preprocess -s de -t en --joined-dictionary --trainpref train --validpref valid "
      "--testpref test --destdir data-bin",
      "pairs of sentences: train.de, train.en, ...");
  table.example(
      "evomoe preprocess --examples jsonl --srcdict runs/lm/dict.txt --bpe gpt2 "
      "--gpt2-encoder-json runs/lm/encoder.json --gpt2-vocab-bpe runs/lm/vocab.bpe --trainpref "
      "train.jsonl --validpref valid.jsonl --destdir examples-bin",
      "prompts with answers, to fine-tune the language model of the run runs/lm");
}

void describe(OptionTable& table, BpeFlags& o) {
  table.positional("action", &o.action, "What to do: train, encode or decode.")
      .choices({"train", "encode", "decode"})
      .metavar("ACTION")
      .required();
  table
      .positional("input", &o.input,
                  "train: text files or folders; encode, decode: one file, none or -: stdin.")
      .metavar("FILE...");
  table
      .add("output", &o.output,
           "encode, decode: file to write; -: stdout. What is encoded is decoded to the same "
           "bytes.")
      .metavar("FILE");
  table.add("destdir", &o.destdir, "train: folder for encoder.json and vocab.bpe.")
      .metavar("FOLDER");
  table.add("vocab-size", &o.vocab_size, "train: symbols, with the 256 bytes and <|endoftext|>.")
      .at_least(257);
  table.add("keep-whitespace", &o.keep_whitespace,
            "train: learns from the white space at both ends of lines too, for text that is "
            "encoded with it (preprocess --keep-whitespace, bpe encode).");
  table.add("gpt2-encoder-json", &o.gpt2_encoder_json, "encode, decode: encoder.json of the BPE.")
      .metavar("FILE");
  table.add("gpt2-vocab-bpe", &o.gpt2_vocab_bpe, "encode, decode: vocab.bpe of the BPE.")
      .metavar("FILE");
  table.add("workers", &o.workers, "train, encode: threads; the result does not depend on it.")
      .range(1, 1024);
  table.example("evomoe bpe train corpus/ --vocab-size 8192 --destdir bpe", "learn a BPE");
  table.example(
      "evomoe bpe encode book.txt --gpt2-encoder-json bpe/encoder.json --gpt2-vocab-bpe "
      "bpe/vocab.bpe --output book.bpe",
      "use it");
}

void describe(OptionTable& table, ConvertOptions& o) {
  table
      .positional(
          "path", &o.path,
          "Checkpoint: x.pt, one file of a set (x-shared.pt, x-rank-0.pt, ...; the shards of "
          "fully_sharded training: x-shard0.pt, ... or x-shared-shard0.pt, "
          "x-rank-0-shard0.pt, ...), or one of ours.")
      .metavar("PATH")
      .required();
  table.add("to", &o.to, "What is made.").choices({"evomoe", "fairseq"});
  table
      .add("output", &o.output,
           "to evomoe: the run folder; to fairseq: the file, x.pt (a mixture of experts: "
           "x-shared.pt "
           "and x-rank-0.pt).")
      .metavar("PATH")
      .required();
  table
      .add("data", &o.data, "to evomoe: its data-bin folder; not given: the one it was trained on.")
      .metavar("DATA");
  table.add("no-save-optimizer-state", &o.no_save_optimizer_state,
            "Leaves the optimiser's state out; to evomoe: its options and those of the learning "
            "rate too. A run goes on from it with --reset-optimizer.");
  table.example("evomoe convert checkpoints/checkpoint_last.pt --output runs/a --data data-bin",
                "a run of fairseq; `evomoe train --config runs/a/config.yaml` goes on with it");
}

void describe(OptionTable& table, InfoOptions& o) {
  table.positional("path", &o.path, "Checkpoint, ours or fairseq's (x.pt); not with --machine.")
      .metavar("CHECKPOINT");
  table.add("machine", &o.machine,
            "Describes this machine instead, and which instructions the program uses on it.");
  table.add("log-format", &o.log_format, "Form of the result.").choices({"json", "simple"});
  table.example("evomoe info runs/a/checkpoint_last", "configuration, size, stage and load");
  table.example("evomoe info --machine", "processor, threads, instructions, LibTorch");
}

void describe(OptionTable& table, CompareOptions& o) {
  table.positional("run", &o.run, "Run folders.").metavar("RUN...").required();
  table
      .add("baseline", &o.baseline,
           "Run whose final perplexity is the target: how long the others took to reach it. Its "
           "folder, or its name if only one run has that name; not given: the first.")
      .metavar("RUN");
  table.add("valid-subset", &o.valid_subset, "Split whose perplexity is compared.").metavar("NAME");
  table.add("group", &o.group,
            "Runs whose names differ only in the number after their last hyphen (dense-1, "
            "dense-2) are one row, with mean and standard deviation.");
  table
      .add("format", &o.format,
           "Form of the result; text also has a verdict, and curves if there is an evolution.")
      .choices({"text", "markdown", "json"});
  table.example("evomoe compare runs/evomoe runs/switch runs/dense --baseline runs/switch",
                "three runs");
  table.example("evomoe compare runs/*/ --group --baseline switch", "several seeds of each");
}

void describe(OptionTable& table, PlotOptions& o) {
  table.positional("run", &o.run, "Run folders, also of runs that are still going on.")
      .metavar("RUN...")
      .required();
  table.add("output", &o.output, "The picture to write, an .svg file.")
      .alias("o")
      .metavar("FILE.svg")
      .required();
  table
      .add("x-axis", &o.x_axis,
           "What the curves are drawn against; seconds and FLOP are those of training.")
      .choices({"updates", "tokens", "flops", "seconds"});
  table
      .add("curves", &o.curves,
           "What is drawn, one panel each; not given: all that the runs have. time: milliseconds "
           "per update; max_vio: largest load of an expert / mean - 1, of the worst layer.")
      .choices({"loss", "perplexity", "temperature", "experts", "max_vio", "dead_experts", "time"});
  table.add("log-x", &o.log_x, "Logarithmic x axes.");
  table.add("log-y", &o.log_y, "Logarithmic y axes.");
  table.add("valid-subset", &o.valid_subset, "Split whose perplexity is drawn.").metavar("NAME");
  table.example("evomoe plot runs/evomoe runs/switch -o loss.svg --curves loss,experts,time",
                "two runs, three panels");
  table.example(
      "evomoe plot runs/*/ -o perplexity.svg --curves perplexity --x-axis seconds --log-y",
      "perplexity against training time");
}

void describe(OptionTable& table, OptionsFlags& o) {
  table.add("markdown", &o.markdown,
            "The reference page of all options, docs/options.md; also if nothing is given.");
  table.add("migration", &o.migration, "What happens to each flag of fairseq, docs/migration.md.");
  std::vector<std::string> pages = {"evomoe"};
  for (const auto& command : command_summaries()) pages.push_back(command.name);
  table
      .add(
          "man", &o.man,
          "The manual page of a command, or of the program: evomoe options --man train | man -l -.")
      .choices(pages)
      .bare("evomoe");
  table.add("completion", &o.completion, "The script that completes command lines in this shell.")
      .choices({"bash", "zsh"});
  table
      .add("destdir", &o.destdir,
           "Writes all manual pages and completions into this folder, as /usr/share has them: "
           "man/man1/, bash-completion/completions/ and zsh/site-functions/.")
      .metavar("FOLDER");
  table.example("source <(evomoe options --completion bash)",
                "complete command lines in this bash");
  table.example("evomoe options --destdir ~/.local/share",
                "manual pages and completions for yourself");
}

std::string options_markdown(const std::vector<std::shared_ptr<const OptionTable>>& tables) {
  std::string text =
      "# Options\n\n"
      "Generated from the option table (`options_markdown()` in evomoe/config/describe.h); do not "
      "edit by hand.\n\n"
      "Options may be given as `--name value` (`_` for `-` works too), as `group.name=value`, or "
      "in a YAML file named by\n"
      "`--config` (or `--config-dir DIR --config-name NAME`: DIR/NAME.yaml), flat or in groups. "
      "The command line wins over `group.name=value`, that over "
      "files, and a later file over an\n"
      "earlier one.\n";
  for (const auto& table : tables) text += "\n" + table->markdown();
  return text;
}

}  // namespace evomoe
