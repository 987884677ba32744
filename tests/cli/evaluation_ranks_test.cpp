// Evaluation and generation by several processes: what one process prints, once and in order.
#include <nlohmann/json.hpp>

#include "tests/cli/commands_fixture.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

class EvaluationRanks : public Commands {
 protected:
  void SetUp() override {
    EVOMOE_NEEDS_RANKS();
    Commands::SetUp();
    const auto trained = evomoe(train_arguments() + evolution());
    ASSERT_EQ(trained.exit_code, 0) << trained.err;
  }

  std::string data() const { return (folder_ / "bin").string(); }
  std::string model() const {
    return fmt::format(" --path {} --threads 1 ", (folder_ / "run/checkpoint_last").string());
  }
  static std::string ranks(int count) {
    return fmt::format(" --distributed-world-size {} ", count);
  }

  static std::string output_of(const std::string& arguments) {
    const auto result = evomoe(arguments);
    EXPECT_EQ(result.exit_code, 0) << arguments << "\n" << result.err;
    return result.out;
  }
  static void expect_same_output(const std::string& arguments) {
    const auto alone = output_of(arguments);
    EXPECT_FALSE(alone.empty());
    for (const int count : {2, 5})
      EXPECT_EQ(output_of(arguments + ranks(count)), alone) << arguments;
  }
};

TEST_F(EvaluationRanks, EvalLmPrintsWhatOneProcessDoes) {
  const auto evaluate = "eval-lm " + data() + model() + "--gen-subset valid ";
  expect_same_output(evaluate + "--batch-size 4 --output-word-probs --output-word-stats");
  expect_same_output(evaluate + "--max-tokens 50 --tokens-per-sample 10 --context-window 3");
  // Fewer batches than ranks.
  expect_same_output(evaluate + "--batch-size 4 --max-valid-steps 3 --output-word-probs");
}

TEST_F(EvaluationRanks, ContinuationsOfPromptsComeInOrder) {
  testing::write_text(folder_ / "prompts", "the w4 sees\nand then w7\nthe w1\nand\nthe w4\n");
  const auto generate = fmt::format("generate {}{} --max-len 5 --log-format json --input {} ",
                                    data(), model(), (folder_ / "prompts").string());
  expect_same_output(generate);
  expect_same_output(generate + "--sampling --num-samples 3");
  const auto stdin_of_two = testing::run_command(fmt::format(
      "cat {} | {} generate {}{} --max-len 5 --log-format json {}", (folder_ / "prompts").string(),
      testing::program().string(), data(), model(), ranks(2)));
  EXPECT_EQ(stdin_of_two.out, output_of(generate));
}

TEST_F(EvaluationRanks, GenerateOfASplitPrintsWhatOneProcessDoes) {
  const auto generate =
      "generate " + data() + model() + "--gen-subset valid --batch-size 4 --beam 2 --max-len 5 ";
  expect_same_output(generate);
  expect_same_output(generate + "--scoring sacrebleu --quiet");
  const auto folder = (folder_ / "results").string();
  output_of(generate + ranks(2) + "--results-path " + folder);
  EXPECT_EQ(testing::read_text(folder + "/generate-valid.txt"), output_of(generate));
}

TEST_F(EvaluationRanks, ValidateGivesTheLossesOfOneProcess) {
  const auto validate =
      "validate " + data() + model() + "--batch-size 4 --log-format json --validate-routing both ";
  for (const std::string limit : {"", "--max-valid-steps 7 "}) {
    const auto losses = [&](int count) {
      std::vector<double> found;
      std::istringstream lines(output_of(validate + limit + ranks(count)));
      for (std::string line; std::getline(lines, line);) {
        const auto record = nlohmann::json::parse(line.substr(line.find('{')));
        for (const auto& [key, value] : record.items()) {
          if (key.ends_with("_perplexity")) found.push_back(value.get<double>());
        }
      }
      return found;
    };
    const auto alone = losses(1);
    ASSERT_EQ(alone.size(), 2U);
    for (const int count : {2, 5}) {
      const auto found = losses(count);
      ASSERT_EQ(found.size(), alone.size());
      for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], alone[i], 1e-5 * alone[i]);
    }
  }
}

TEST_F(EvaluationRanks, AreStartedByHandAndByTheEnvironmentToo) {
  const auto evaluate = "eval-lm " + data() + model() + "--gen-subset valid --batch-size 4 ";
  const auto meet = fmt::format("--distributed-world-size 2 --distributed-init-method file://{} ",
                                (folder_ / "meet").string());
  const auto first = testing::run_command(fmt::format(
      "{0} {1} --distributed-rank 1 & {0} {1} --distributed-rank 0; code=$?; wait; exit $code",
      testing::program().string(), evaluate + meet));
  EXPECT_EQ(first.out, output_of(evaluate)) << first.err;
  const auto of_mpi = testing::run_command(fmt::format(
      "export PMI_SIZE=2; PMI_RANK=1 {0} {1} & PMI_RANK=0 {0} {1}; wait",
      testing::program().string(),
      evaluate + fmt::format("--distributed-init-method file://{}", (folder_ / "mpi").string())));
  EXPECT_EQ(of_mpi.out, output_of(evaluate)) << of_mpi.err;
}

TEST_F(EvaluationRanks, WhatCannotBeDividedOrDiffersIsRefused) {
  expect_refused("interactive " + data() + model() + ranks(2), {"one process", "each line"});
  testing::write_text(folder_ / "prompts", "the\n");
  expect_refused("generate" + model() + ranks(2) + "--input " + (folder_ / "no").string(),
                 {"cannot be read", "rank 0 ended"}, 1);
  const auto meet = fmt::format(
      "--distributed-world-size 2 --distributed-timeout 20 --distributed-init-method "
      "file://{} ",
      (folder_ / "meet").string());
  const auto differ = testing::run_command(fmt::format(
      "{0} {1} --distributed-rank 0 --batch-size 4 & {0} {1} --distributed-rank 1 --batch-size 5; "
      "code=$?; wait; exit $code",
      testing::program().string(), "eval-lm " + data() + model() + "--gen-subset valid " + meet));
  EXPECT_EQ(differ.exit_code, 1);
  EXPECT_THAT(differ.err, HasSubstr("--batch-size is '5', and '4' on rank 0"));
}

}  // namespace
}  // namespace evomoe
