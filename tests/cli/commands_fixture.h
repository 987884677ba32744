#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/testing/paths.h"

namespace evomoe {

/// The program as a user types it, on a small corpus: its data-bin folder `bin` and run folders lie
/// in a temporary folder.
class Commands : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string train, valid;
    for (int i = 0; i < 400; ++i) {
      auto& text = i % 10 == 0 ? valid : train;
      text += fmt::format("the {} sees {} and then {} goes to the {}\n", name(i), name(i * 7 + 1),
                          name(i), name(i * 3 + 2));
    }
    testing::write_text(folder_ / "train.txt", train);
    testing::write_text(folder_ / "valid.txt", valid);
    const auto result =
        evomoe(fmt::format("preprocess --only-source --trainpref {0}/train.txt --validpref "
                           "{0}/valid.txt --destdir {0}/bin",
                           folder_.path().string()));
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  static std::string name(int i) { return fmt::format("w{}", (i * i + 3 * i) % 23); }

  static testing::CommandResult evomoe(const std::string& arguments) {
    return testing::run_command(testing::program().string() + " " + arguments);
  }

  /// 24 updates of a tiny dense model.
  std::string train_arguments(const std::string& run = "run") const {
    return fmt::format(
        "train {0}/bin --save-dir {0}/{1} --arch transformer_lm_gpt2_tiny --decoder-layers 2 "
        "--decoder-embed-dim 16 --decoder-ffn-embed-dim 32 "
        "--decoder-attention-heads 2 --tokens-per-sample 16 --batch-size 4 --lr 0.003 --max-update "
        "24 --log-interval 4 --log-format none "
        "--threads 1 --validate-interval-updates 8 ",
        folder_.path().string(), run);
  }

  /// Added to train_arguments: the spawn after 8 updates, sparse from update 18.
  static std::string evolution() {
    return "--moe-freq 2 --moe-expert-count 4 --moe-topk-expert --criterion moe_cross_entropy "
           "--use-gumbel-softmax --max-temperature 2 "
           "--min-temperature 0.3 --gumbel-decay-scheduler Linear --gumbel-decay-factor 6 "
           "--switch-to-hard-gumbel-softmax 10 "
           "--shared-expert-updates 8 --moe-eval-capacity-token-fraction -1 ";
  }

  std::string model_file(const std::string& run) const {
    return testing::read_text(folder_ / (run + "/checkpoint_last/model.safetensors"));
  }
  std::string optimizer_file(const std::string& run) const {
    return testing::read_text(folder_ / (run + "/checkpoint_last/optimizer.safetensors"));
  }

  void expect_refused(const std::string& arguments, const std::vector<std::string>& words,
                      int code = 2) {
    const auto result = evomoe(arguments);
    EXPECT_EQ(result.exit_code, code) << arguments << "\n" << result.err;
    for (const auto& word : words) EXPECT_THAT(result.err, ::testing::HasSubstr(word)) << arguments;
  }

  testing::TemporaryFolder folder_;
};

}  // namespace evomoe
