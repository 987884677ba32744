// `evomoe bench` as a user types it, at sizes that take no time.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/testing/paths.h"

namespace evomoe {
namespace {

testing::CommandResult bench(const std::string& arguments) {
  return testing::run_command(testing::program().string() + " bench " + arguments);
}

/// Runs a benchmark with as few repeats as it takes and returns its lines, after a look at what
/// every line must have.
std::vector<nlohmann::json> lines_of(const std::string& arguments) {
  const auto result = bench(arguments + " --peak-seconds 0 --warmup 1 --repeats 2 --threads 1");
  EXPECT_EQ(result.exit_code, 0) << arguments << "\n" << result.err;
  std::vector<nlohmann::json> lines;
  std::istringstream stream(result.out);
  for (std::string text; std::getline(stream, text);) {
    const auto line = nlohmann::json::parse(text);
    for (const auto* key :
         {"impl", "case", "ms_median", "ms_min", "gflops", "sgemm_fraction", "tokens_per_s",
          "peak_mem_mb", "threads", "device", "dtype", "checksum", "sgemm_gflops"})
      EXPECT_TRUE(line.contains(key)) << key << " in " << text;
    EXPECT_EQ(line.value("threads", 0), 1);
    EXPECT_GT(line.value("sgemm_gflops", 0.0), 0);
    EXPECT_THAT(result.err, ::testing::HasSubstr(line.value("case", "?"))) << "no table";
    lines.push_back(line);
  }
  return lines;
}

constexpr const char* kModel =
    " --layers 2 --dim 16 --heads 2 --ffn 24 --experts 2 --vocab 32 --seq 8 --batch 2";

TEST(BenchCommand, LayerPrintsALineOfThePeersProtocol) {
  const auto lines = lines_of("layer --tokens 64 --dim 32 --hidden 48 --experts 4 --topk 2");
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["case"], "S64-M32-H48-E4-k2-uniform");
  EXPECT_EQ(lines[0]["impl"], "evomoe");
  EXPECT_EQ(lines[0]["checksum"].size(), 7U);
  EXPECT_EQ(lines[0]["active_experts"], 2);
}

TEST(BenchCommand, LayerNamesWhatIsNotItsRealRouter) {
  const std::string sizes = "layer --tokens 64 --dim 32 --hidden 48 --experts 4";
  EXPECT_EQ(lines_of(sizes + " --debug-balanced-routing")[0]["impl"], "evomoe:balanced-routing");
  const auto soft = lines_of(sizes + " --dts 10");
  EXPECT_EQ(soft[0]["impl"], "evomoe:dts");
  EXPECT_EQ(soft[0]["case"], "S64-M32-H48-E4-k1-uniform-dts-10");
  EXPECT_GT(soft[0]["active_experts"], 1.0);
}

TEST(BenchCommand, StepTellsPhasesMemoryAndLosses) {
  const auto lines = lines_of(std::string("step") + kModel);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["case"], "L2-d16-h2-f24-E2-k1-every2-V32-T8-B2");
  EXPECT_GT(lines[0]["forward_backward_ms"], 0);
  EXPECT_TRUE(lines[0]["resident_mb"].contains("beyond"));
  EXPECT_TRUE(lines[0]["checksum"].contains("last_loss"));
}

TEST(BenchCommand, GemmMeasuresTheSixProductsOfAnExpert) {
  EXPECT_EQ(lines_of("gemm --tokens 16 --dim 8 --hidden 12 --experts 2 --topk E").size(), 6U);
}

TEST(BenchCommand, RouterMeasuresEveryMethodOrOne) {
  EXPECT_GE(lines_of("router --tokens 16 --dim 8 --experts 4").size(), 6U);
  const auto lines = lines_of("router --tokens 16 --dim 8 --experts 4 --method topk --topk 3");
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["impl"], "evomoe:topk");
  EXPECT_EQ(lines[0]["active_experts"], 3);
}

TEST(BenchCommand, LossStandsBesideItsPlainForm) {
  const auto lines = lines_of("loss --tokens 20 --dim 8 --vocab 30");
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[1]["impl"], "eager");
  EXPECT_NEAR(lines[0]["checksum"]["loss"], lines[1]["checksum"]["loss"], 1e-5);
}

TEST(BenchCommand, DataTellsHowLongTrainingWaits) {
  const testing::TemporaryFolder folder;
  const auto lines =
      lines_of(std::string("data --epoch-batches 3 --folder ") + folder.path().string() + kModel);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_TRUE(lines[1].contains("wait_percent"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "the data set was left behind";
}

TEST(BenchCommand, CheckpointStandsBesideTrainingWithout) {
  const testing::TemporaryFolder folder;
  const auto lines = lines_of(std::string("checkpoint --save-interval 2 --folder ") +
                              folder.path().string() + kModel);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_TRUE(lines[1].contains("slower_percent"));
  EXPECT_GT(lines[1]["checkpoint_mb"], 0);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "a checkpoint was left behind";
}

TEST(BenchCommand, GenerateWritesTheSameTextEachTime) {
  const auto arguments =
      "generate --prompt-len 2 --new-tokens 4 --layers 2 --dim 16 --heads 2 "
      "--ffn 24 --experts 2 --vocab 32 --seq 8";
  EXPECT_EQ(lines_of(arguments)[0]["checksum"], lines_of(arguments)[0]["checksum"]);
}

TEST(BenchCommand, ListsSuitesWithoutDoingAnything) {
  const auto all = bench("--list");
  EXPECT_EQ(all.exit_code, 0);
  for (const auto* name : {"gemm", "layer", "step", "router", "loss", "data", "checkpoint",
                           "generate", "suite paper: S2048-M512-H2048-E8-k1-uniform",
                           "suite gpt2s: L12-d768-h12-f3072-E16-k1-every2-V50257-T512-B2"})
    EXPECT_THAT(all.out, ::testing::HasSubstr(name));
  EXPECT_THAT(bench("layer --list").out, ::testing::Not(::testing::HasSubstr("L12-d768")));
}

TEST(BenchCommand, HelpTellsEachOptionOnce) {
  for (const auto* name :
       {"gemm", "layer", "step", "router", "loss", "data", "checkpoint", "generate"}) {
    const auto help = bench(std::string(name) + " --help");
    EXPECT_EQ(help.exit_code, 0);
    const auto first = help.out.find("--budget-s");
    EXPECT_NE(first, std::string::npos) << name;
    EXPECT_EQ(help.out.find("--budget-s", first + 1), std::string::npos) << help.out;
  }
}

TEST(BenchCommand, RefusesBadInputBeforeAnyWork) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> wrong = {
      {"", {}},
      {"layr", {"layr", "did you mean 'layer'", "checkpoint"}},
      {"layer --suite papr", {"papr", "did you mean paper", "small"}},
      {"layer --suite paper --tokens 64", {"--suite paper", "--tokens"}},
      {"layer --tokens 0", {"--tokens", "0"}},
      {"layer --topk 9", {"--topk 9", "--experts 8"}},
      {"layer --topk two", {"--topk two"}},
      {"layer --experts 64 --dim 32", {"--experts 64", "--dim 32"}},
      {"layer --ffn glu", {"--ffn", "glu", "swiglu"}},
      {"layer --skew normal", {"normal", "zipf"}},
      {"layer --dts warm", {"--dts warm", "argmax"}},
      {"layer --dts 0.3 --debug-balanced-routing", {"--debug-balanced-routing", "--dts"}},
      {"layer --suite dts --debug-balanced-routing", {"--debug-balanced-routing", "--dts"}},
      {"layer --skew zipf --zipf-s nan", {"--zipf-s", "nan"}},
      {"step --lr nan", {"--lr", "nan"}},
      {"layer --tokenz 3", {"--tokenz", "--tokens"}},
      {"step --dim 128 --heads 3", {"--heads 3", "--dim 128"}},
      {"step --moe-freq 9", {"--moe-freq 9", "--layers 8"}},
      {"step --suite tiny --topk 5", {"--topk 5", "--experts 4"}},
      {"router --method swich", {"swich", "did you mean switch"}},
      {"loss --vocab 0", {"--vocab"}},
      {"generate --prompt-len 300", {"--prompt-len 300", "--seq 256"}},
      {"generate --batch 2", {"--batch 2"}},
      {"data --vocab 4", {"--vocab 4"}},
      {"checkpoint --save-interval 0", {"--save-interval"}},
  };
  for (const auto& [arguments, words] : wrong) {
    const auto result = bench(arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments << "\n" << result.err;
    for (const auto& word : words) EXPECT_THAT(result.err, ::testing::HasSubstr(word)) << arguments;
  }
}

TEST(BenchCommand, AFolderThatIsNotThereIsNamed) {
  const auto result = bench(std::string("checkpoint --folder /no/such/folder") + kModel);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, ::testing::HasSubstr("/no/such/folder"));
  EXPECT_THAT(result.err, ::testing::HasSubstr("--folder"));
}

}  // namespace
}  // namespace evomoe
