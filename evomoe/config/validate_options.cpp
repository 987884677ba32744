#include "evomoe/config/validate_options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "evomoe/base/byte_size.h"
#include "evomoe/base/error.h"
#include "evomoe/config/eval_bleu.h"
#include "evomoe/config/given_options.h"
#include "evomoe/config/task_declaration.h"

namespace evomoe {
namespace {

/// --moe-freq of the half of the model that has most experts; 0: none has any.
int64_t largest_moe_freq(const MoeOptions& moe) {
  return std::max({moe.moe_freq, moe.encoder_moe_freq, moe.decoder_moe_freq});
}

/// --moe-freq, or that of one half of the model, as it was given.
std::string moe_freq_flag(const MoeOptions& moe) {
  const auto largest = largest_moe_freq(moe);
  const char* name = moe.moe_freq == largest           ? "moe-freq"
                     : moe.decoder_moe_freq == largest ? "decoder-moe-freq"
                                                       : "encoder-moe-freq";
  return fmt::format("--{} {}", name, largest);
}

/// The flag that makes all of the model's MoE layers dense; empty: some have experts.
std::string densifying_flag(const TrainOptions& options) {
  const auto& moe = options.moe;
  const auto& family = family_of_task(options.task.task);
  const bool decoder = family.decoder && std::max(moe.moe_freq, moe.decoder_moe_freq) > 0;
  const bool encoder = family.encoder && std::max(moe.moe_freq, moe.encoder_moe_freq) > 0;
  const bool dense_decoder = decoder && moe.alternate_decoder_ffn_embed_dim > 0;
  const bool dense_encoder = encoder && moe.alternate_ffn_embed_dim > 0;
  if (decoder != dense_decoder || encoder != dense_encoder) return "";
  return dense_decoder ? fmt::format("--alternate-decoder-ffn-embed-dim {}",
                                     moe.alternate_decoder_ffn_embed_dim)
                       : fmt::format("--alternate-ffn-embed-dim {}", moe.alternate_ffn_embed_dim);
}

void validate_moe(const TrainOptions& options) {
  const auto& moe = options.moe;
  const bool moe_layers = largest_moe_freq(moe) > 0;
  const bool gate_loss = options.criterion.criterion.starts_with("moe_");
  if (!moe_layers) {
    if (moe.moe_expert_count > 0) {
      fail_usage(
          "--moe-expert-count {} without --moe-freq: no layer would be MoE; give --moe-freq 2 for "
          "every other "
          "layer, or leave the count out",
          moe.moe_expert_count);
    }
    if (gate_loss) {
      fail_usage(
          "--criterion {} needs MoE layers; give --moe-freq and --moe-expert-count, or use "
          "--criterion {}",
          options.criterion.criterion, options.criterion.criterion.substr(4));
    }
    return;
  }
  const int64_t experts = moe.moe_expert_count;
  if (experts == 0) {
    fail_usage(
        "{} without --moe-expert-count: give the number of experts of an MoE layer, e.g. "
        "--moe-expert-count 8",
        moe_freq_flag(moe));
  }
  if (moe.topk != -1 && moe.topk != experts) {
    fail_usage(
        "--topk {} is not possible: it is -1 or --moe-expert-count ({}); leave it out{}", moe.topk,
        experts,
        moe.topk < 1 || moe.topk > experts
            ? ""
            : fmt::format(", and for a fixed number of experts per token use --moe-router topk "
                          "--moe-k {} (docs/routing.md)",
                          moe.topk));
  }
  if (moe.alternate_decoder_ffn_embed_dim > 0 && gate_loss &&
      !family_of_task(options.task.task).encoder) {
    fail_usage(
        "--alternate-decoder-ffn-embed-dim {} makes the MoE layers dense, so --criterion {} has no "
        "routers; use --criterion {}",
        moe.alternate_decoder_ffn_embed_dim, options.criterion.criterion,
        options.criterion.criterion.substr(4));
  }
}

void validate_evolution(const TrainOptions& options) {
  const auto updates = options.evolution.shared_expert_updates;
  if (updates == 0) return;
  if (largest_moe_freq(options.moe) == 0) {
    fail_usage(
        "--shared-expert-updates {} needs MoE layers; give --moe-freq and --moe-expert-count",
        updates);
  }
  if (const auto flag = densifying_flag(options); !flag.empty()) {
    fail_usage(
        "--shared-expert-updates {} needs MoE layers, and {} makes them dense; leave one of the "
        "two out",
        updates, flag);
  }
}

void validate_batches(const TrainOptions& options) {
  const auto& dataset = options.dataset;
  if (!dataset.max_tokens && !dataset.batch_size) {
    fail_usage(
        "neither --max-tokens nor --batch-size is given: say how large a micro-batch is, e.g. "
        "--batch-size 8");
  }
  if (options.task.pad_to_fixed_bsz && !dataset.batch_size) {
    fail_usage("--pad-to-fixed-bsz needs --batch-size: the number of sequences to pad to");
  }
}

void validate_checkpoints(const CheckpointOptions& options) {
  if (options.finetune_from_model && options.init_from) {
    fail_usage("--finetune-from-model and --init-from both give the first weights; use one");
  }
  if (!options.finetune_from_model) return;
  if (options.reset_optimizer || options.reset_meters || options.reset_dataloader) {
    fail_usage(
        "--finetune-from-model resets everything but the weights already; leave the --reset-... "
        "flags out");
  }
  if (options.restore_file != CheckpointOptions().restore_file) {
    fail_usage("--finetune-from-model and --restore-file {} both say where the run begins; use one",
               options.restore_file);
  }
}

void validate_resources(const TrainOptions& options) {
  const auto& budget = options.resources.memory_budget;
  if (budget) parse_byte_size(*budget, "--memory-budget");
}

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

/// A flag of another task would be passed over in silence.
void validate_task(const TrainOptions& options) {
  const auto& task = options.task.task;
  for_each_given(options, [&](const OptionTable&, const Option& option) {
    const auto& tasks = option.tasks();
    if (tasks.empty() || std::ranges::find(tasks, task) != tasks.end()) return;
    fail_usage("--{} is an option of --task {}, and this is --task {}; leave it out", option.name(),
               fmt::join(tasks, " or "), task);
  });
}

void validate_criterion(const TrainOptions& options) {
  const auto& task = task_declaration(options.task.task);
  const auto& criterion = options.criterion.criterion;
  const auto& own = task.criterions;
  if (!own.empty() && std::ranges::find(own, criterion) == own.end()) {
    fail_usage("--criterion {} does not go with --task {}; use {}{}{}", criterion, task.name,
               fmt::join(own.begin(), own.end() - 1, ", "), own.size() > 1 ? " or " : "",
               own.back());
  }
  if (const auto others = tasks_of_criterion(criterion); own.empty() && !others.empty()) {
    fail_usage("--criterion {} does not go with --task {}: it needs --task {}", criterion,
               task.name, fmt::join(others, " or "));
  }
  if (criterion.find("label_smoothed") != std::string::npos) return;
  static const std::set<std::string> smoothed = {"label-smoothing", "report-accuracy",
                                                 "ignore-prefix-size"};
  for_each_given(options, [&](const OptionTable& table, const Option& option) {
    if (!smoothed.contains(option.name())) return;
    fail_usage("{} has no effect with --criterion {}; use label_smoothed_cross_entropy",
               table.written(option), criterion);
  });
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

void validate_options(const TrainOptions& options) {
  validate_task(options);
  validate_criterion(options);
  validate_moe(options);
  validate_evolution(options);
  validate_batches(options);
  task_declaration(options.task.task).validate(options);
  validate_checkpoints(options.checkpoint);
  validate_resources(options);
}

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
