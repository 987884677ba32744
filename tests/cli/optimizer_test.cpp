// --optimizer and --lr-factor through the program: what is true of one optimiser is true of all.
#include "evomoe/checkpoint/safetensors.h"
#include "evomoe/report/run_log.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class Optimizers : public Commands {
 protected:
  /// Each optimiser with options that make all of its state.
  static std::vector<std::string> all() {
    return {"--optimizer adam --weight-decay 0.01 ",
            "--optimizer adafactor --beta1 0.9 --scale-parameter --weight-decay 0.01 --lr 0.05 ",
            "--optimizer adafactor --decay-rate -0.7 --clip-threshold 0.8 ",
            "--optimizer muon --weight-decay 0.01 --lr 0.01 "};
  }

  std::string checkpoint(const std::string& run) const {
    return (folder_ / (run + "/checkpoint_last")).string();
  }

  TensorMap optimizer_state(const std::string& run) const {
    return read_safetensors(folder_ / (run + "/checkpoint_last/optimizer.safetensors"));
  }

  testing::CommandResult expect_works(const std::string& arguments) {
    auto result = evomoe(arguments);
    EXPECT_EQ(result.exit_code, 0) << arguments << "\n" << result.err;
    return result;
  }

  double last_loss(const std::string& run) const {
    double loss = 0;
    for (const auto& line : read_run_log(folder_ / (run + "/log.jsonl"))) {
      if (line.at("tag") == "train_inner") loss = line.at("loss").get<double>();
    }
    return loss;
  }
};

// In the shared-expert stage, at the spawn and in both later stages, with factors by kind.
TEST_F(Optimizers, ARunThatIsStoppedAndResumedEndsBitIdentical) {
  for (const auto& optimizer : all()) {
    SCOPED_TRACE(optimizer);
    const auto options = evolution() + "--dropout 0.1 --lr-factor router=2,expert=0.5 " + optimizer;
    expect_works(train_arguments("whole") + options);
    for (const int stop : {5, 8, 9, 19}) {
      const auto run = fmt::format("part{}", stop);
      expect_works(train_arguments(run) + options + fmt::format("--max-update {}", stop));
      expect_works(train_arguments(run) + options);
      EXPECT_EQ(model_file(run), model_file("whole")) << "stopped after " << stop;
      EXPECT_EQ(optimizer_file(run), optimizer_file("whole")) << "stopped after " << stop;
      fs::remove_all(folder_ / run);
    }
    fs::remove_all(folder_ / "whole");
  }
}

TEST_F(Optimizers, TheSharedExpertsStateBecomesThatOfEachExpertByTheRuleThatIsAskedFor) {
  const std::string of_w1 = "decoder.layers.1.moe_layer.experts.w1.";
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases = {
      {all()[0], {"exp_avg", "exp_avg_sq"}},
      {all()[1], {"exp_avg", "exp_avg_sq_row", "exp_avg_sq_col"}},
      {all()[3], {"momentum_buffer"}}};
  for (const auto& [optimizer, slots] : cases) {
    SCOPED_TRACE(optimizer);
    for (const std::string rule : {"copy", "reset", "scale"}) {
      const auto options = evolution() + optimizer + "--diversify-moments " + rule + " ";
      expect_works(train_arguments("run") + options + "--max-update 8");
      const auto before = optimizer_state("run");
      expect_works(train_arguments("run") + options + "--max-update 9");
      const auto after = optimizer_state("run");
      EXPECT_EQ(after.at(of_w1 + "step").item<int64_t>(), 9);
      for (const auto& slot : slots) {
        const auto &one = before.at(of_w1 + slot), &four = after.at(of_w1 + slot);
        EXPECT_EQ(one.size(0), 1);
        EXPECT_EQ(four.size(0), 4) << slot;
        EXPECT_EQ(four.sizes().slice(1), one.sizes().slice(1)) << slot;
        // The experts' own gradients have come in since.
        EXPECT_FALSE(torch::equal(four[0], four[1])) << slot;
      }
      fs::remove_all(folder_ / "run");
    }
  }
}

TEST_F(Optimizers, EachLearnsAndSaysNothingOfTheOthers) {
  for (const auto& optimizer : all()) {
    SCOPED_TRACE(optimizer);
    expect_works(train_arguments("run") + optimizer + "--max-update 60 --log-interval 1");
    double first = 0;
    for (const auto& line : read_run_log(folder_ / "run/log.jsonl")) {
      if (line.at("tag") == "train_inner" && first == 0) first = line.at("loss").get<double>();
    }
    EXPECT_LT(last_loss("run"), 0.9 * first);
    fs::remove_all(folder_ / "run");
  }
}

TEST_F(Optimizers, ACheckpointOfAnotherOneIsRefusedWithTheRemedy) {
  for (const auto& [mine, theirs] : {std::pair{"adam", "muon"}, std::pair{"muon", "adafactor"},
                                     std::pair{"adafactor", "adam"}}) {
    const auto with = [&](const std::string& name) {
      return train_arguments() + "--optimizer " + name + " ";
    };
    expect_works(with(theirs) + "--max-update 2");
    expect_refused(with(mine),
                   {std::string("--optimizer ") + theirs, std::string("--optimizer ") + mine,
                    "--reset-optimizer"},
                   1);
    const auto result = expect_works(with(mine) + "--reset-optimizer --max-update 3");
    EXPECT_THAT(result.err, HasSubstr("--optimizer"));
    fs::remove_all(folder_ / "run");
  }
}

TEST_F(Optimizers, AStateThatTheOptionsDoNotFitIsRefusedWithTheRemedy) {
  expect_works(train_arguments() + "--optimizer adafactor --max-update 2");
  expect_refused(train_arguments() + "--optimizer adafactor --beta1 0.9",
                 {"exp_avg_sq_row, exp_avg_sq_col, and with",
                  "exp_avg_sq_row, exp_avg_sq_col, exp_avg", "--reset-optimizer"},
                 1);
}

TEST_F(Optimizers, AnotherOneThanThatOfTheRunsFileDoesWithoutItsOptions) {
  expect_works(train_arguments() + "--optimizer adafactor --beta1 0.9 --max-update 2");
  const auto from_file = "train --config " + (folder_ / "run/config.yaml").string() + " ";
  expect_works(from_file + "--optimizer muon --reset-optimizer --max-update 3");
  expect_refused(from_file + "--optimizer muon --reset-optimizer --beta1 0.8",
                 {"--beta1 is an option of --optimizer adafactor"});
}

TEST_F(Optimizers, AnOptionOfAnotherOneIsRefused) {
  expect_refused(train_arguments() + "--muon-momentum 0.9",
                 {"--muon-momentum is an option of --optimizer muon", "--optimizer adam"});
  expect_refused(train_arguments() + "--optimizer muon --adam-eps 1e-6",
                 {"--adam-eps is an option of --optimizer adam"});
  expect_refused(train_arguments() + "--optimizer adafactor --adam-betas 0.8,0.9",
                 {"--adam-betas is an option of --optimizer adam"});
  expect_refused(train_arguments() + "--optimizer nag", {"adam, adafactor, muon"});
  expect_refused(train_arguments() + "--momentum 0.9", {"--momentum", "docs/optimizers.md"});
  EXPECT_FALSE(fs::exists(folder_ / "run"));
}

TEST_F(Optimizers, RelativeStepsSetTheLearningRateThatTheLogShows) {
  const auto arguments = train_arguments();
  const auto at = arguments.find("--lr 0.003 ");
  const auto without_lr = std::string(arguments).erase(at, 11);
  expect_refused(arguments + "--wsd-decay cosine ",
                 {"--wsd-decay is an option of --lr-scheduler wsd, and this is --lr-scheduler"});
  expect_refused(arguments + "--phase-ratio 0.1,0.4,0.5 ",
                 {"--phase-ratio is an option of --lr-scheduler tri_stage"});
  const std::string relative = "--optimizer adafactor --relative-step --scale-parameter ";
  expect_refused(arguments + relative, {"--lr 0.003 has no effect with --relative-step"});
  expect_refused(without_lr + relative + "--lr-scheduler inverse_sqrt",
                 {"--lr-scheduler inverse_sqrt has no effect with --relative-step"});
  expect_refused(without_lr + relative + "--min-lr 0.0001", {"--min-lr 0.0001 has no effect"});
  const auto result = expect_works(without_lr + relative + "--warmup-init --log-interval 1");
  EXPECT_THAT(result.err, Not(HasSubstr("no --lr is given")));
  int64_t lines = 0;
  for (const auto& line : read_run_log(folder_ / "run/log.jsonl")) {
    if (line.at("tag") != "train_inner") continue;
    ++lines;
    // As in fairseq's log, the rate is that of the next update.
    EXPECT_NEAR(line.at("lr").get<double>(), 1e-6 * static_cast<double>(lines + 1), 1e-9);
  }
  EXPECT_EQ(lines, 24);
}

TEST_F(Optimizers, FactorsOfTheLearningRateAreSaidAndKeptInTheCheckpoint) {
  const auto options = evolution() + "--lr-factor router=0,expert=0.5 ";
  const auto result = expect_works(train_arguments() + options);
  EXPECT_THAT(result.err, HasSubstr("learning rate of router parameters: times 0"));
  EXPECT_THAT(result.err, HasSubstr("learning rate of expert parameters: times 0.5"));
  const auto manifest =
      nlohmann::json::parse(testing::read_text(folder_ / "run/checkpoint_last/manifest.json"));
  EXPECT_EQ(manifest.at("sections").at("config").at("optimization").at("lr_factor"),
            (std::vector<std::string>{"router=0", "expert=0.5"}));
  // The router is as it began.
  expect_works(train_arguments("new") + options + "--max-update 1");
  const std::string gate = "decoder.layers.1.moe_layer.gate.wg.weight";
  const auto weights = [&](const std::string& run) {
    return read_safetensors(folder_ / (run + "/checkpoint_last/model.safetensors"));
  };
  EXPECT_TRUE(torch::equal(weights("run").at(gate), weights("new").at(gate)));
  // Another one is a change that is said.
  const auto changed = expect_works(train_arguments("new") + evolution() + "--max-update 2");
  EXPECT_THAT(changed.err, HasSubstr("--lr-factor"));
  expect_refused(train_arguments("x") + "--lr-factor gate=2",
                 {"no kind of parameter 'gate'", "expert, router, embedding"});
  const auto dense = expect_works(train_arguments("dense") + "--lr-factor router=2 --max-update 1");
  EXPECT_THAT(dense.err, HasSubstr("router=2 has no effect: this model has no router parameters"));
}

TEST_F(Optimizers, TheStateOnDiskChangesNoResultAndThatOfAdafactorIsSaidToBeSmall) {
  const std::string wide =
      "--decoder-embed-dim 512 --decoder-ffn-embed-dim 2048 --decoder-layers 1 --max-update 2 ";
  const auto offload = fmt::format("--offload-moments {} ", folder_.path().string());
  for (const auto& optimizer : {all()[1], all()[3]}) {
    SCOPED_TRACE(optimizer);
    expect_works(train_arguments("memory") + wide + optimizer);
    const auto result = expect_works(train_arguments("disk") + wide + optimizer + offload);
    EXPECT_THAT(result.err, Not(HasSubstr("has no effect")));
    EXPECT_TRUE(model_file("disk") == model_file("memory"));
    EXPECT_TRUE(optimizer_file("disk") == optimizer_file("memory"));
    fs::remove_all(folder_ / "memory");
    fs::remove_all(folder_ / "disk");
  }
  const auto factored = expect_works(train_arguments() + wide + "--optimizer adafactor " + offload);
  EXPECT_THAT(factored.err, HasSubstr("has no effect: no tensor of the state"));
}

TEST_F(Optimizers, AMemoryBudgetCountsTheStateOfTheOptimizer) {
  const auto moments = [&](const std::string& optimizer) {
    expect_works(train_arguments("run") + "--optimizer " + optimizer + " --memory-budget 8G");
    std::pair<int64_t, int64_t> planned_and_measured;
    for (const auto& line : read_run_log(folder_ / "run/log.jsonl")) {
      if (line.at("tag") == "memory_plan")
        planned_and_measured.first = line.at("estimate").at("moments").get<int64_t>();
      if (line.at("tag") == "memory_peak")
        planned_and_measured.second = line.at("moments").get<int64_t>();
    }
    fs::remove_all(folder_ / "run");
    return planned_and_measured;
  };
  const auto adam = moments("adam"), adafactor = moments("adafactor"), muon = moments("muon");
  for (const auto& [planned, measured] : {adam, adafactor, muon}) {
    // The step counts, 8 bytes a tensor, are not planned.
    EXPECT_GE(measured, planned);
    EXPECT_LE(measured - planned, 8 * 60);
  }
  EXPECT_LT(4 * adafactor.first, adam.first);
  EXPECT_LT(muon.first, adam.first);
}

TEST_F(Optimizers, AdafactorsStateGoesToFairseqsFilesAndBack) {
  const auto experts = std::string("--moe-freq 2 --moe-expert-count 4 --moe-top1-expert ");
  for (const auto& optimizer : {all()[1], all()[2]}) {
    for (const auto& model : {std::string(), experts}) {
      SCOPED_TRACE(optimizer + model);
      const auto options = optimizer + model;
      expect_works(train_arguments("whole") + options);
      expect_works(train_arguments("part") + options + "--max-update 9");
      const auto theirs = (folder_ / "theirs/x.pt").string();
      expect_works("convert " + checkpoint("part") + " --to fairseq --output " + theirs);
      const auto result =
          expect_works(train_arguments("other") + options + "--restore-file " + theirs);
      EXPECT_THAT(result.err, HasSubstr("other than in that run: --max-update 9 -> 24\n"));
      EXPECT_EQ(model_file("other"), model_file("whole"));
      EXPECT_EQ(optimizer_file("other"), optimizer_file("whole"));
      expect_works(fmt::format("convert {} --output {}/back --data {}/bin", theirs,
                               folder_.path().string(), folder_.path().string()));
      EXPECT_EQ(optimizer_file("back"), optimizer_file("part"));
      for (const auto* made : {"whole", "part", "theirs", "other", "back"})
        fs::remove_all(folder_ / made);
    }
  }
}

TEST_F(Optimizers, MuonsStateIsNotFairseqsAndTheMessageSaysHowToGoOn) {
  expect_works(train_arguments() + "--optimizer muon --max-update 2");
  const auto theirs = (folder_ / "x.pt").string();
  const auto convert = "convert " + checkpoint("run") + " --to fairseq --output " + theirs + " ";
  expect_refused(convert, {"--optimizer muon", "--no-save-optimizer-state"});
  expect_works(convert + "--no-save-optimizer-state");
  expect_works(train_arguments("new") + "--finetune-from-model " + theirs + " --max-update 1");
}

}  // namespace
}  // namespace evomoe
