// Shared and fine-grained experts, and methods that learn from all experts, from the command line.
#include <filesystem>

#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

class SharedExperts : public Commands {
 protected:
  /// A block of width 12 beside experts of width 20.
  static std::string widths() {
    return "--moe-shared-expert-hidden-dim 12 --moe-expert-hidden-dim 20 ";
  }
  std::string checkpoint(const std::string& run) const {
    return (folder_ / (run + "/checkpoint_last")).string();
  }
};

TEST_F(SharedExperts, EvolveFromADenseModelAndGoOnBitIdentically) {
  ASSERT_EQ(evomoe(train_arguments("dense") + "--max-update 3").exit_code, 0);
  const auto more = evolution() + widths() +
                    "--evolution-router-init kmeans --lr-rewarmup-updates 4 --lr-scheduler wsd "
                    "--wsd-decay 1-sqrt --finetune-from-model " +
                    checkpoint("dense") + " ";
  const auto whole = evomoe(train_arguments("whole") + more);
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_THAT(whole.err, HasSubstr("its feed-forward blocks are the shared experts"));
  EXPECT_THAT(whole.err, HasSubstr("directions of the layers' inputs (k-means)"));
  for (const int stop : {8, 10}) {
    const auto run = fmt::format("part{}", stop);
    // The length of the run is that of its schedule.
    const auto part = train_arguments(run) + more + "--total-num-update 24 ";
    ASSERT_EQ(evomoe(part + fmt::format("--max-update {}", stop)).exit_code, 0);
    ASSERT_EQ(evomoe(part).exit_code, 0);
    EXPECT_EQ(model_file(run), model_file("whole")) << "stopped after " << stop;
  }

  const auto info = evomoe("info " + checkpoint("whole"));
  ASSERT_EQ(info.exit_code, 0) << info.err;
  EXPECT_THAT(info.out, HasSubstr("ffn of the shared expert"));
  EXPECT_THAT(info.out, HasSubstr("ffn of an expert"));
  // 4 experts of a layer: 20 x 16 twice, and biases.
  EXPECT_THAT(info.out, HasSubstr(fmt::format("({} of experts)", 4 * (2 * 20 * 16 + 20 + 16))));
  const auto text = evomoe("generate " + (folder_ / "bin").string() +
                           " --prompt the --threads 1 --path " + checkpoint("whole"));
  EXPECT_EQ(text.exit_code, 0) << text.err;
  expect_refused(
      "convert " + checkpoint("whole") + " --to fairseq --output " + (folder_ / "x.pt").string(),
      {"no shared expert", "--moe-shared-expert-hidden-dim 12"});
  expect_refused(train_arguments("whole") + evolution() +
                     "--moe-shared-expert-hidden-dim 8 "
                     "--moe-expert-hidden-dim 20 ",
                 {"--moe-shared-expert-hidden-dim 12 -> 8"}, 1);
  // Widths that are not those of the dense blocks together.
  expect_refused(train_arguments("other") + evolution() +
                     "--moe-shared-expert-hidden-dim 12 --finetune-from-model " +
                     checkpoint("dense"),
                 {"fc1.weight"}, 1);
}

TEST_F(SharedExperts, GrowInSteps) {
  const auto more = evolution() +
                    "--growth-experts 1,2 --growth-updates 3,4 --lr-rewarmup-updates 2 "
                    "--lr-scheduler tri_stage --phase-ratio 0.1,0.4,0.5 --dropout 0.1 ";
  const auto whole = evomoe(train_arguments("whole") + more);
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_THAT(whole.err, HasSubstr("update 16: each MoE layer grew from 2 to 4 experts"));
  // 11: at a growth; 13: with two experts.
  for (const int stop : {9, 11, 13}) {
    const auto run = fmt::format("part{}", stop);
    // The whole run again: a shorter one would have another schedule.
    ASSERT_EQ(evomoe(train_arguments(run) + more + "--save-interval-updates 1").exit_code, 0);
    const auto from = (folder_ / fmt::format("{}/checkpoint_1_{}", run, stop)).string();
    const auto text = evomoe("eval-lm " + (folder_ / "bin").string() +
                             " --gen-subset valid --threads 1 --path " + from);
    EXPECT_EQ(text.exit_code, 0) << text.err;
    const auto info = evomoe("info " + from);
    EXPECT_THAT(info.out, HasSubstr(stop < 12 ? "1 in one of 2 layers" : "2 in one of 2 layers"));
    const auto resumed = evomoe(train_arguments(run + "-on") + more + "--restore-file " + from);
    ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
    EXPECT_EQ(model_file(run + "-on"), model_file("whole")) << "stopped after " << stop;
  }
  expect_refused(train_arguments("part13") + evolution() +
                     "--growth-experts 1 --growth-updates 30 "
                     "--restore-file " +
                     (folder_ / "part13/checkpoint_1_13").string(),
                 {"have 2 experts", "--growth-experts 1"}, 1);
  expect_refused(train_arguments("other") + evolution() + "--growth-experts 3 --growth-updates 3",
                 {"--growth-experts 3", "3 experts cannot become 4"});
  expect_refused(train_arguments("other") +
                     "--moe-freq 2 --moe-expert-count 4 --moe-router hash --growth-experts 2 "
                     "--growth-updates 3",
                 {"--moe-router hash: its table names the expert of each word"});
}

TEST_F(SharedExperts, MethodsThatLearnFromAllExpertsGoOnBitIdentically) {
  for (const std::string method :
       {"default-moe --default-moe-average 0.5", "default-moe --default-moe-mode backward",
        "densemixer --moe-k 1"}) {
    SCOPED_TRACE(method);
    const auto more =
        "--moe-freq 1 --moe-expert-count 4 --dropout 0.1 --update-freq 2 "
        "--criterion moe_cross_entropy --moe-router " +
        method + " ";
    std::filesystem::remove_all(folder_ / "whole");
    std::filesystem::remove_all(folder_ / "part");
    const auto whole = evomoe(train_arguments("whole") + more);
    ASSERT_EQ(whole.exit_code, 0) << whole.err;
    ASSERT_EQ(evomoe(train_arguments("part") + more + "--max-update 9").exit_code, 0);
    ASSERT_EQ(evomoe(train_arguments("part") + more).exit_code, 0);
    EXPECT_EQ(model_file("part"), model_file("whole"));
    EXPECT_EQ(evomoe("eval-lm " + (folder_ / "bin").string() +
                     " --gen-subset valid --threads 1 --path " + checkpoint("whole"))
                  .exit_code,
              0);
  }
  expect_refused(train_arguments("other") +
                     "--moe-freq 1 --moe-expert-count 4 --moe-router densemixer "
                     "--default-moe-average 0.5",
                 {"--default-moe-average 0.5 does nothing for --moe-router densemixer"});
}

}  // namespace
}  // namespace evomoe
