#include "evomoe/config/describe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "evomoe/base/error.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/command_tables.h"
#include "evomoe/cli/compare.h"
#include "evomoe/cli/info.h"
#include "evomoe/corpus/bpe_command_options.h"
#include "evomoe/data/preprocess_options.h"
#include "evomoe/generate/evaluation_options.h"
#include "evomoe/generate/generate_options.h"
#include "evomoe/routing/capacity.h"
#include "evomoe/score/score_options.h"
#include "evomoe/train/validate_options.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

std::vector<std::string> words(const std::string& line) {
  std::istringstream stream(line);
  return {std::istream_iterator<std::string>(stream), {}};
}

TrainOptions parse_train(const std::vector<std::string>& arguments) {
  TrainOptions options;
  OptionTable table("train", command_summary("train"));
  options.describe(table);
  table.parse(arguments);
  validate_options(options);
  return options;
}

template <typename Options, typename Describe>
void expect_sound(const std::string& command, Describe describe_into) {
  Options options;
  OptionTable table(command, command_summary(command));
  describe_into(table, options);
  std::set<std::string> names;
  static const auto page = options_markdown(command_tables());
  for (const auto& option : table.options()) {
    SCOPED_TRACE(command + " --" + option->name());
    EXPECT_TRUE(names.insert(option->name()).second);
    EXPECT_NE(option->help(), "");
    const auto& value = option->default_value();
    const bool given = !value.is_null() && value_text(value) != "";
    if (given) {
      EXPECT_EQ(option->read(value_text(value), "x"), value)
          << "the default is allowed, and reads back to itself";
    }
    EXPECT_THAT(table.help_text(), HasSubstr("--" + option->name()));
    EXPECT_THAT(page, HasSubstr("`--" + option->name() + "`"));
  }
  const auto stored = table.to_json();
  table.from_json(stored);
  EXPECT_EQ(table.to_json(), stored);
}

TEST(Describe, EveryOptionOfEveryCommandIsSound) {
  const auto plain = [](OptionTable& table, auto& options) { options.describe(table); };
  expect_sound<TrainOptions>("train", plain);
  expect_sound<ValidateOptions>("validate", plain);
  expect_sound<EvalLmOptions>("eval-lm", plain);
  expect_sound<GenerateOptions>("generate", plain);
  expect_sound<InteractiveOptions>("interactive", plain);
  expect_sound<ScoreOptions>("score", plain);
  expect_sound<PreprocessOptions>("preprocess", plain);
  expect_sound<BpeCommandOptions>("bpe", plain);
  expect_sound<InfoOptions>("info", plain);
  expect_sound<CompareOptions>("compare", plain);
}

TEST(Describe, UnderstandsTheReferencesEvolutionCommandLine) {
  const auto options = parse_train(words(
      "data/bin --task language_modeling --arch transformer_lm_gptxl_moe "
      "--share-decoder-input-output-embed "
      "--decoder-layers 4 --decoder-embed-dim 32 --decoder-ffn-embed-dim 64 "
      "--decoder-attention-heads 4 "
      "--tokens-per-sample 32 --batch-size 4 --moe-freq 2 --moe-expert-count 4 --moe-topk-expert "
      "--use-gumbel-softmax --gumbel-decay-scheduler Linear --max-temperature 2.0 "
      "--min-temperature 0.5 "
      "--gumbel-decay-factor 30 --switch-to-hard-gumbel-softmax 45 --moe-gating-use-fp32 "
      "--moe-eval-capacity-token-fraction -1.0 --criterion moe_cross_entropy --moe-gate-loss-wt "
      "0.01 "
      "--moe-gate-loss-combine-method sum --lr-scheduler polynomial_decay --total-num-update 60 "
      "--update-freq 1 "
      "--lr 0.002 --warmup-updates 10 --optimizer adam --adam-betas (0.9,0.98) --adam-eps 1e-08 "
      "--clip-norm 5.0 "
      "--weight-decay 0.1 --dropout 0.0 --attention-dropout 0.0 --num-workers 0 --ddp-backend "
      "legacy_ddp "
      "--max-update 60 --validate-interval-updates 30 --log-format json --log-interval 10 --seed "
      "1234 --cpu "
      "--no-save"));
  EXPECT_EQ(options.moe.moe_router, "dts");
  EXPECT_EQ(options.routers.get<CapacityOptions>().eval_fraction, -1.0);
  EXPECT_EQ(options.evolution.gumbel_decay_factor, 30);
  EXPECT_EQ(options.evolution.switch_to_hard_gumbel_softmax, 45);
  EXPECT_EQ(options.optimizer.of<AdamOptions>().betas, (std::vector<double>{0.9, 0.98}));
  EXPECT_EQ(options.model.dropout, 0.0);
  EXPECT_FALSE(options.model.activation_dropout.has_value()) << "the architecture decides";
  EXPECT_EQ(options.common.device, "cpu");
}

TEST(Describe, EveryRecordedLanguageModelCommandIsUnderstood) {
  const auto folder = testing::golden_training_dir();
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!std::filesystem::exists(entry.path() / "flags.json")) continue;
    auto command =
        testing::read_json(entry.path() / "flags.json")["command"].get<std::vector<std::string>>();
    if (std::find(command.begin(), command.end(), "language_modeling") == command.end()) continue;
    command.erase(command.begin());  // train.py
    SCOPED_TRACE(entry.path().string());
    EXPECT_NO_THROW(parse_train(command));
    ++cases;
  }
  EXPECT_GT(cases, 0);
}

TEST(Describe, NeitherExpertFlagMeansGShardAsInTheReference) {
  EXPECT_EQ(parse_train(words("d --batch-size 1 --moe-freq 1 --moe-expert-count 2")).moe.moe_router,
            "gshard");
  EXPECT_EQ(
      parse_train(words("d --batch-size 1 --moe-freq 1 --moe-expert-count 2 --moe-top1-expert"))
          .moe.moe_router,
      "switch");
}

TEST(Describe, TheTaskFollowsFromTheArchitecture) {
  const auto task_of = [](const std::string& line) {
    return parse_train(words("d --batch-size 1 " + line)).task.task;
  };
  EXPECT_EQ(task_of(""), "language_modeling");
  EXPECT_EQ(task_of("--arch transformer_lm_gpt"), "language_modeling");
  EXPECT_EQ(task_of("--arch transformer_vaswani_wmt_en_de_big"), "translation");
  EXPECT_EQ(task_of("--arch roberta_large_moe --criterion masked_lm"), "masked_lm");
  EXPECT_EQ(task_of("--arch roberta --task sentence_prediction --num-classes 2 "
                    "--criterion sentence_prediction"),
            "sentence_prediction");
}

TEST(Describe, AnUnknownArchitectureIsToldOfFirstWithTheNearestAndAll) {
  // The criterion does not go with the task that it would mean, either.
  const auto line = words("d --batch-size 1 --arch transformer_lm_gpt2_tyni --criterion masked_lm");
  EXPECT_THAT([&] { parse_train(line); },
              ThrowsMessage<UsageError>(AllOf(
                  HasSubstr("--arch: 'transformer_lm_gpt2_tyni'"), HasSubstr("roberta_large_moe"),
                  HasSubstr("did you mean 'transformer_lm_gpt2_tiny'"))));
}

TEST(Describe, AnOptionOfSomeTasksSaysSo) {
  TrainOptions options;
  OptionTable table("train", "");
  options.describe(table);
  EXPECT_THAT(table.at("decoder-layers").help(),
              HasSubstr("Only in language_modeling, supervised_finetuning, translation."));
  EXPECT_THAT(table.at("dropout").help(), Not(HasSubstr("Only in")));
}

TEST(Describe, ValuesAreUnderstoodInTheReferencesWords) {
  const auto options =
      parse_train(words("d --batch-size 1 --optimizer cpu_adam --activation-fn gelu_accurate "
                        "--gumbel-decay-scheduler None --upsample-primary -1"));
  EXPECT_EQ(options.optimizer.optimizer, "adam");
  EXPECT_EQ(options.model.activation_fn, "gelu_tanh");
  EXPECT_EQ(options.evolution.gumbel_decay_scheduler, "none");
  EXPECT_EQ(options.task.upsample_primary, 1);
}

TEST(Describe, CommandsThatReadACheckpointPassOverWhatItSaysWithANotice) {
  GenerateOptions options;
  OptionTable table("generate", "");
  options.describe(table);
  table.parse(
      words("data-bin --path x --moe-expert-count 4 --moe-freq 2 --moe-gating-use-fp32 "
            "--moe-top1-expert --moe-eval-capacity-token-fraction -1.0"));
  EXPECT_EQ(options.search.moe_eval_capacity_token_fraction, -1.0);
  EXPECT_THAT(table.notices(), Contains(HasSubstr("--moe-expert-count 4")));
  EXPECT_THAT(table.notices(), Contains(HasSubstr("--moe-top1-expert")));
}

TEST(Describe, AliasesOfFairseqWork) {
  const auto options = parse_train(
      words("d --max-sentences 4 -a transformer_lm_big --nval 3 --combine-val --wd 0.1"));
  EXPECT_EQ(options.dataset.batch_size, 4);
  EXPECT_EQ(options.model.arch, "transformer_lm_big");
  EXPECT_EQ(options.dataset.max_valid_steps, 3);
  EXPECT_TRUE(options.dataset.combine_valid_subsets);
  EXPECT_EQ(options.optimizer.weight_decay, 0.1);
}

TEST(Describe, TheRunFoldersYamlRepeatsTheRun) {
  TrainOptions options;
  OptionTable table("train", "");
  options.describe(table);
  table.parse(
      words("d --batch-size 8 --lr 0.1,0.2 --adam-betas 0.8,0.95 --moe-freq 2 --moe-expert-count 4 "
            "--dropout 0.3"));
  testing::TemporaryFolder folder;
  testing::write_text(folder / "config.yaml", table.to_yaml());
  TrainOptions again;
  OptionTable second("train", "");
  again.describe(second);
  second.parse({"--config", (folder / "config.yaml").string()});
  EXPECT_EQ(second.to_json(), table.to_json());
}

TEST(Describe, WhatOlderRunsStoredOfFlagsThatMeanNothingIsPassedOver) {
  TrainOptions options;
  OptionTable table("train", "");
  options.describe(table);
  table.parse(words("d --batch-size 8 --lr 0.1"));
  const auto now = table.to_json();
  auto stored = now;
  stored["checkpoint"]["reset_lr_scheduler"] = false;
  stored["dataset"]["fixed_validation_seed"] = nullptr;
  stored["optimization"]["lr_period_updates"] = -1.0;  // was no integer
  table.from_json(stored);
  EXPECT_EQ(table.to_json(), now);
  stored["checkpoint"]["reset_everything"] = false;
  EXPECT_THROW(table.from_json(stored), UsageError);

  testing::TemporaryFolder folder;
  testing::write_text(folder / "old.yaml", "checkpoint:\n  reset_lr_scheduler: false\n");
  table.parse({"d", "--config", (folder / "old.yaml").string()});
  EXPECT_THAT(table.notices(), ::testing::IsEmpty());
  testing::write_text(folder / "old.yaml", "fixed_validation_seed: 7\n");
  table.parse({"d", "--config", (folder / "old.yaml").string()});
  EXPECT_THAT(table.notices(), ::testing::ElementsAre(HasSubstr("--fixed-validation-seed 7")));
}

TEST(Describe, ACommandOffersOnlyWhatItReads) {
  const auto names = [](auto options, auto describe_into) {
    OptionTable table("x", "");
    describe_into(table, options);
    std::vector<std::string> found;
    for (const auto& option : table.options()) found.push_back(option->name());
    return found;
  };
  const auto plain = [](OptionTable& table, auto& options) { options.describe(table); };
  const auto eval_lm = names(EvalLmOptions(), plain);
  const auto validate = names(ValidateOptions(), plain);
  const auto generate = names(GenerateOptions(), plain);
  for (const auto* name : {"validate-routing", "num-workers", "log-interval", "seed"})
    EXPECT_THAT(eval_lm, Not(Contains(name)));
  for (const auto* name : {"log-interval", "seed"}) EXPECT_THAT(validate, Not(Contains(name)));
  EXPECT_THAT(validate, Contains("validate-routing"));
  EXPECT_THAT(generate, Not(Contains("log-interval")));
  EXPECT_THAT(generate, Contains("seed"));
}

TEST(Describe, ListsOfArgumentsMayContainCommas) {
  CompareOptions options;
  OptionTable table("compare", "");
  options.describe(table);
  table.parse({"runs/a,b", "runs/c"});
  EXPECT_EQ(options.run, (std::vector<std::string>{"runs/a,b", "runs/c"}));
}

TEST(Describe, GenerateTakesFairseqsFlagsOrNamesTheOtherWay) {
  const auto parse = [](const std::string& arguments) {
    GenerateOptions options;
    OptionTable table("generate", "");
    options.describe(table);
    table.parse(words(arguments));
    return options;
  };
  const auto options = parse(
      "data-bin --path c --task translation -s de -t en --gen-subset valid --beam 4 --nbest 2 "
      "--max-len-a 1.2 --max-len-b 10 --lenpen 0.6 --unkpen 1 --min-len 2 --unnormalized "
      "--no-repeat-ngram-size 3 --prefix-size 1 --max-sentences 128 --sacrebleu --quiet "
      "--remove-bpe=sentencepiece --fp16 --no-progress-bar --num-workers 2 --is-moe");
  EXPECT_EQ(options.search.beam, 4);
  EXPECT_EQ(options.num_samples, 2);
  EXPECT_EQ(options.search.max_len_a, 1.2);
  EXPECT_EQ(options.max_len, 10);
  EXPECT_EQ(options.search.batch_size, 128);
  EXPECT_EQ(options.scoring, "sacrebleu");
  EXPECT_EQ(options.search.post_process, "sentencepiece");
  for (const std::string flag : {"--print-alignment", "--replace-unk a", "--diverse-beam-groups 2",
                                 "--tokenizer moses", "--constraints", "--match-source-len"})
    EXPECT_THROW(parse("d --path c " + flag), UsageError) << flag;
}

TEST(Describe, HelpShowsGroupsDefaultsAndExamples) {
  TrainOptions options;
  OptionTable table("train", command_summary("train"));
  options.describe(table);
  const auto help = table.help_text();
  EXPECT_THAT(help, HasSubstr("usage: evomoe train DATA"));
  EXPECT_THAT(help, HasSubstr("Evolution of the experts (evolution)"));
  EXPECT_THAT(help, HasSubstr("(default 0.25)"));
  EXPECT_THAT(help, HasSubstr("Examples:"));
  EXPECT_THAT(help, HasSubstr("--batch-size, --max-sentences N"));
}

}  // namespace
}  // namespace evomoe
