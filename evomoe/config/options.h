#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// What the commands can be told; what `train` can be told is put together in train/options.h. A
/// field is the flag of the same name (`--tokens-per-sample` is tokens_per_sample); names are
/// fairseq's where fairseq has one. describe.h says the type, the allowed values and the meaning of
/// each.
namespace evomoe {

class OptionTable;

/// BLEU of translations in a validation.
struct EvalBleuOptions {
  bool eval_bleu = false;
  std::string eval_bleu_args = "{}";        ///< JSON, what the search is told
  std::string eval_bleu_detok = "space";    ///< space (none) | moses | nltk (none, as in fairseq)
  std::string eval_bleu_detok_args = "{}";  ///< JSON
  bool eval_tokenized_bleu = false;         ///< of words between white space, not of 13a's
  std::optional<std::string> eval_bleu_remove_bpe;  ///< as SearchFlags::post_process
  bool eval_bleu_print_samples = false;

  bool operator==(const EvalBleuOptions&) const = default;
};

// The options of each task, which its file in config/tasks describes.

struct LanguageModelingOptions {
  bool add_bos_token = false;
  bool pad_to_fixed_length = false;
  bool pad_to_fixed_bsz = false;

  void describe(OptionTable& table);
};

struct MaskedLmOptions {
  double mask_prob = 0.15;           ///< share of tokens to predict
  double leave_unmasked_prob = 0.1;  ///< of those: kept as they are
  double random_token_prob = 0.1;    ///< of those: replaced by another token
  bool freq_weighted_replacement = false;
  bool mask_whole_words = false;
  double mask_multiple_length = 1;  ///< tokens in a row that are masked together
  double mask_stdev = 0.0;          ///< of that length

  void describe(OptionTable& table);
};

struct TranslationOptions {
  std::optional<std::string> source_lang, target_lang;  ///< not given: from the files' names
  bool left_pad_source = true;
  bool left_pad_target = false;
  bool truncate_source = false;  ///< to max_source_positions
  int64_t upsample_primary = 1;  ///< times that `train` is read beside train1, train2, ...
  EvalBleuOptions bleu;

  void describe(OptionTable& table);
};

struct SentencePredictionOptions {
  int64_t num_classes = -1;
  std::optional<int64_t> init_token;       ///< put before a row; not given: none
  std::optional<int64_t> separator_token;  ///< put between the two sentences of a row
  std::string classification_head_name = "sentence_classification_head";
  bool no_shuffle = false;
  std::string shorten_method = "none";  ///< none | truncate | random_crop

  void describe(OptionTable& table);
};

struct SupervisedFinetuningOptions {
  bool truncate_prompt = false;  ///< prompts are cut on the left, to tokens_per_sample
  bool pack_examples = false;    ///< a row of training holds several examples

  void describe(OptionTable& table);
};

/// What is trained and how text is cut into sequences.
struct TaskOptions : LanguageModelingOptions,
                     MaskedLmOptions,
                     TranslationOptions,
                     SentencePredictionOptions,
                     SupervisedFinetuningOptions {
  std::string task = "language_modeling";  ///< a name of config/task_declaration.h
  // of several tasks
  int64_t tokens_per_sample = 1024;        ///< longest sequence
  std::string sample_break_mode = "none";  ///< none | complete | complete_doc | eos
};

/// An encoder or a decoder: `--encoder-layers` is encoder.layers. An empty optional means "as the
/// architecture says".
struct HalfOptions {
  std::optional<int64_t> layers, embed_dim, ffn_embed_dim, attention_heads;
  std::optional<bool> normalize_before, learned_pos;
};

/// The Transformer. An empty optional means "as the architecture says".
struct ModelOptions {
  std::string arch = "transformer_lm";
  HalfOptions encoder, decoder;
  std::optional<bool> share_all_embeddings;
  std::optional<bool> layernorm_embedding;
  std::optional<std::string> pooler_activation_fn;  ///< RoBERTa's classification head
  std::optional<double> pooler_dropout;
  bool untie_weights_roberta = false;
  bool adaptive_input = false;
  std::optional<std::vector<int64_t>> adaptive_input_cutoff;
  std::optional<double> adaptive_input_factor;
  std::optional<std::vector<int64_t>> adaptive_softmax_cutoff;
  std::optional<double> adaptive_softmax_dropout;
  std::optional<double> adaptive_softmax_factor;
  bool tie_adaptive_weights = false;
  bool tie_adaptive_proj = false;
  std::optional<std::string> activation_fn;
  std::optional<double> dropout;
  std::optional<double> attention_dropout;
  std::optional<double> activation_dropout;
  std::optional<bool> no_token_positional_embeddings;
  std::optional<bool> no_scale_embedding;
  std::optional<bool> share_decoder_input_output_embed;
  std::optional<bool> no_decoder_final_norm;
  std::optional<int64_t> max_target_positions;  ///< not given: tokens_per_sample; translation: 1024
  std::optional<int64_t> max_source_positions;  ///< translation; not given: 1024
  std::optional<int64_t> max_positions;         ///< RoBERTa; not given: 512
  bool checkpoint_activations = false;
};

struct CriterionOptions {
  /// cross_entropy, masked_lm or label_smoothed_cross_entropy, each alone, with the gate loss
  /// (moe_...) or, but for the last, with the logged number of experts (..._gumbel);
  /// sentence_prediction; adaptive_loss.
  std::string criterion = "cross_entropy";
  double label_smoothing = 0.0;
  bool report_accuracy = false;
  int64_t ignore_prefix_size = 0;
  bool regression_target = false;  ///< sentence_prediction: of numbers, not of classes
  bool sentence_avg = false;       ///< losses are divided by the number of sentences
  double moe_gate_loss_wt = 1.0;
  std::string moe_gate_loss_combine_method = "average";  ///< average | sum
  std::string moe_gate_loss_transform = "none";          ///< none | neg_log
  double moe_z_loss_wt = 0.0;
};

struct OptimizationOptions {
  std::vector<double> lr = {0.25};          ///< by epoch; the last one stays
  std::string lr_scheduler = "fixed";       ///< polynomial_decay | inverse_sqrt | cosine | fixed
  std::optional<int64_t> warmup_updates;    ///< not given: 4000 for inverse_sqrt, else 0
  double warmup_init_lr = -1.0;             ///< < 0: the scheduler's own
  std::optional<int64_t> total_num_update;  ///< polynomial_decay; not given: max_update
  double end_learning_rate = 0.0;           ///< polynomial_decay
  double power = 1.0;                       ///< polynomial_decay
  double lr_shrink = 0.1;                   ///< fixed, cosine
  std::optional<int64_t> force_anneal;      ///< epoch
  double min_lr = 0.0;                      ///< cosine
  int64_t lr_period_updates = -1;           ///< cosine
  double t_mult = 1.0;                      ///< cosine
  std::vector<int64_t> update_freq = {1};   ///< by epoch; the last one stays
  double clip_norm = 0.0;                   ///< 0: no clipping
  int64_t max_update = 0;                   ///< 0: no limit
  int64_t max_epoch = 0;                    ///< 0: no limit
  double stop_time_hours = 0.0;             ///< 0: no limit
  double stop_min_lr = -1.0;
  std::string on_non_finite = "stop";  ///< stop | skip

  /// warmup_updates, or what the scheduler does when it is not given.
  int64_t effective_warmup_updates() const {
    return warmup_updates.value_or(lr_scheduler == "inverse_sqrt" ? 4000 : 0);
  }
};

struct DatasetOptions {
  std::optional<int64_t> max_tokens;        ///< tokens of a micro-batch
  std::optional<int64_t> batch_size;        ///< sequences of a micro-batch
  std::optional<int64_t> max_tokens_valid;  ///< not given: max_tokens
  std::optional<int64_t> batch_size_valid;  ///< not given: batch_size
  int64_t required_batch_size_multiple = 8;
  int64_t num_workers = 1;
  int64_t curriculum = 0;  ///< epochs without shuffling
  std::string train_subset = "train";
  std::vector<std::string> valid_subset = {"valid"};
  bool combine_valid_subsets = false;
  bool ignore_unused_valid_subsets = false;
  int64_t validate_interval = 1;          ///< epochs
  int64_t validate_interval_updates = 0;  ///< 0: only at epoch ends
  int64_t validate_after_updates = 0;
  std::optional<int64_t> max_valid_steps;
  bool disable_validation = false;
  bool skip_invalid_size_inputs_valid_test = false;
};

struct CheckpointOptions {
  std::string save_dir = "checkpoints";
  std::string restore_file = "checkpoint_last.pt";
  std::optional<std::string> finetune_from_model;
  std::optional<std::string> init_from;  ///< safetensors file with the initial weights
  bool reset_dataloader = false;
  bool reset_meters = false;
  bool reset_optimizer = false;
  int64_t save_interval = 1;           ///< epochs
  int64_t save_interval_updates = 0;   ///< 0: only at epoch ends
  int64_t keep_interval_updates = -1;  ///< -1: all
  int64_t keep_last_epochs = -1;       ///< -1: all
  int64_t keep_best_checkpoints = -1;  ///< -1: none
  bool no_save = false;
  bool no_epoch_checkpoints = false;
  bool no_last_checkpoints = false;
  bool no_best_checkpoints = false;
  bool no_save_optimizer_state = false;
  bool no_save_optimizer_state_on_training_finished = false;
  std::string best_checkpoint_metric = "loss";
  bool maximize_best_checkpoint_metric = false;
  int64_t patience = -1;  ///< validations without improvement before the run stops; -1: never
  bool write_checkpoints_asynchronously = false;
  bool symlink = false;
};

/// What a run uses of the machine, and what it tells of it.
struct ResourceOptions {
  std::optional<int64_t> profile;              ///< updates
  std::optional<std::string> memory_budget;    ///< bytes, as parse_byte_size() reads them
  std::optional<std::string> offload_moments;  ///< folder
};

/// What every command that computes has.
struct CommonOptions {
  int64_t seed = 1;
  std::string log_format = "simple";  ///< json | simple | tqdm | none
  int64_t log_interval = 100;         ///< updates
  std::string device = "auto";        ///< auto | cpu | cuda
  int64_t threads = 0;                ///< 0: as many as the machine has
};

/// The files of a GPT-2 byte-level BPE.
struct BpeFiles {
  std::optional<std::string> bpe;  ///< gpt2, or none
  std::optional<std::string> gpt2_encoder_json;
  std::optional<std::string> gpt2_vocab_bpe;
};

/// `evomoe validate DATA --path CHECKPOINT` and `evomoe eval-lm DATA --path CHECKPOINT`. What is
/// empty comes from the checkpoint.
struct EvalOptions {
  std::string data;
  std::string path;                                   ///< checkpoint
  std::vector<std::string> valid_subset = {"valid"};  ///< validate
  std::string gen_subset = "test";                    ///< eval-lm
  std::optional<int64_t> max_tokens;
  std::optional<int64_t> batch_size;
  std::optional<int64_t> max_valid_steps;
  std::optional<int64_t> tokens_per_sample;
  std::optional<std::string> sample_break_mode;
  bool skip_invalid_size_inputs_valid_test = false;
  std::optional<double> moe_eval_capacity_token_fraction;
  std::string validate_routing = "reference";
  // validate
  std::optional<int64_t> max_source_positions, max_target_positions, max_positions;
  std::optional<int64_t> required_batch_size_multiple;
  bool truncate_source = false;
  int64_t num_workers = 1;
  EvalBleuOptions bleu;  ///< without eval_bleu: as in training
  // eval-lm
  int64_t context_window = 0;
  bool output_word_probs = false;
  bool output_word_stats = false;
  std::optional<std::string> stats_path;
  BpeFiles bpe;
  CommonOptions common;
};

/// How hypotheses are found and written, of `generate` and `interactive`.
struct SearchFlags {
  int64_t beam = 5;
  double max_len_a = 0.0;  ///< most tokens: max_len_a * source tokens + max_len
  double lenpen = 1.0;
  double unkpen = 0.0;
  bool unnormalized = false;  ///< scores are not divided by the length
  int64_t no_repeat_ngram_size = 0;
  /// How subwords are joined to words: subword_nmt (or the joint, `@@ `) | sentencepiece |
  /// wordpiece | letter | none.
  std::optional<std::string> post_process;
  std::optional<int64_t> max_tokens;                    ///< of a batch
  std::optional<int64_t> batch_size;                    ///< sentences
  std::optional<std::string> source_lang, target_lang;  ///< must be the checkpoint's, where given
  std::optional<double> moe_eval_capacity_token_fraction;  ///< not given: the checkpoint's
};

/// `evomoe generate DATA --path CHECKPOINT` and `evomoe generate --path CHECKPOINT --prompt TEXT`.
struct GenerateOptions {
  std::optional<std::string> data;  ///< folder with dict.txt; not given: the one trained on
  std::string path;
  std::optional<std::string> prompt;
  std::string input = "-";         ///< file of prompts, one a line; - is stdin
  int64_t max_len = 200;           ///< new tokens
  std::optional<int64_t> min_len;  ///< not given: 1; behind prompts 0
  std::optional<bool> sampling;    ///< not given: prompts of a model of running text
  double temperature = 1.0;
  std::optional<int64_t> sampling_topk;  ///< -1: all; not given: 50, of a search all
  double sampling_topp = -1.0;           ///< -1: all
  int64_t num_samples = 1;               ///< per prompt; hypotheses that are written of a sentence
  std::optional<bool> ignore_eos;        ///< not given: of a model of running text
  bool keep_whitespace = false;          ///< prompts are not stripped
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
  BpeFiles bpe;
  CommonOptions common;
};

/// `evomoe interactive DATA --path CHECKPOINT`.
struct InteractiveOptions {
  std::optional<std::string> data;
  std::string path;
  std::string input = "-";
  int64_t buffer_size = 1;  ///< lines that are read before they are translated
  int64_t max_len = 200;
  int64_t min_len = 1;
  bool sampling = false;
  double temperature = 1.0;
  int64_t sampling_topk = -1;
  double sampling_topp = -1.0;
  int64_t nbest = 1;
  bool keep_whitespace = false;
  bool skip_invalid_size_inputs_valid_test = false;
  SearchFlags search;
  BpeFiles bpe;
  CommonOptions common;
};

/// `evomoe score --sys FILE --ref FILE`.
struct ScoreOptions {
  std::string sys = "-";  ///< file of translations, one a line; - is stdin
  std::string ref;
  int64_t order = 4;
  bool ignore_case = false;
  bool sacrebleu = false;
  std::string sacrebleu_tokenizer = "13a";
  bool sentence_bleu = false;
};

/// `evomoe preprocess`.
struct PreprocessFlags {
  std::optional<std::string> source_lang, target_lang;
  bool only_source = false;
  std::optional<std::string> examples;  ///< jsonl | pairs: prompts with answers
  std::optional<std::string> trainpref, validpref, testpref;  ///< file, or several as `a,b,c`
  std::string destdir = "data-bin";
  std::optional<std::string> srcdict, tgtdict;
  bool joined_dictionary = false;
  int64_t thresholdsrc = 0, thresholdtgt = 0;
  int64_t nwordssrc = -1, nwordstgt = -1;
  int64_t padding_factor = 8;
  bool dict_only = false;
  int64_t workers = 1;
  BpeFiles bpe;
  bool keep_whitespace = false;  ///< with a BPE: the ends of lines are not stripped
};

/// `evomoe bpe train|encode|decode`.
struct BpeFlags {
  std::string action;              ///< train | encode | decode
  std::vector<std::string> input;  ///< files or folders; none: stdin
  std::string output = "-";        ///< encode, decode: file; - is stdout
  std::string destdir = ".";       ///< train: folder of encoder.json and vocab.bpe
  int64_t vocab_size = 8192;       ///< train
  bool keep_whitespace = false;    ///< train: the ends of lines are not stripped
  std::optional<std::string> gpt2_encoder_json, gpt2_vocab_bpe;  ///< encode, decode
  int64_t workers = 1;
};

/// `evomoe convert PATH --to evomoe|fairseq --output PATH`.
struct ConvertOptions {
  std::string path;
  std::string to = "evomoe";  ///< evomoe | fairseq
  std::string output;
  std::string data;  ///< data-bin folder; empty: the one that the checkpoint was trained on
  bool no_save_optimizer_state = false;
};

/// `evomoe info CHECKPOINT`.
struct InfoOptions {
  std::string path;
  bool machine = false;
  std::string log_format = "simple";  ///< json | simple
};

/// `evomoe compare RUN RUN ...`.
struct CompareOptions {
  std::vector<std::string> run;
  std::string
      baseline;  ///< the run whose final perplexity the others are timed to reach; empty: the first
  std::string valid_subset = "valid";
  bool group = false;           ///< seeds of one run are one row
  std::string format = "text";  ///< text | markdown | json
};

struct OptionsFlags {
  bool markdown = false, migration = false;
  std::optional<std::string> man;         ///< the page: evomoe, or a command
  std::optional<std::string> completion;  ///< bash | zsh
  std::optional<std::string> destdir;
};

/// `evomoe plot RUN ... --output FILE`.
struct PlotOptions {
  std::vector<std::string> run;
  std::string output;
  std::string x_axis = "updates";   ///< updates | tokens | flops | seconds
  std::vector<std::string> curves;  ///< empty: all that the runs have
  bool log_x = false, log_y = false;
  std::string valid_subset = "valid";
};

}  // namespace evomoe
