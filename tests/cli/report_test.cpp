// evomoe report, and --live of a training.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <tuple>

#include "evomoe/page/embedded_files.h"
#include "evomoe/page/live_server.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

class ReportCommand : public Commands {
 protected:
  void SetUp() override {
    if (dygraph_min_js().empty()) GTEST_SKIP() << "this build has no dygraphs (libjs-dygraphs)";
    Commands::SetUp();
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void train(const std::string& run, const std::string& more) {
    const auto result = evomoe(train_arguments(run) + more);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  json data_of(const std::string& arguments) {
    const auto result = evomoe("report --format json " + arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out);
  }
};

TEST_F(ReportCommand, ShowsWhatAnEvolutionDid) {
  train("run", evolution());
  const auto run = data_of(path("run")).at("runs")[0];
  EXPECT_EQ(run.at("training").at("updates"), json({4, 8, 12, 16, 20, 24}));
  EXPECT_EQ(run.at("validations").at("valid").at("updates"), json({8, 16, 24}));
  std::vector<std::string> stages;
  for (const auto& stage : run.at("stages")) stages.push_back(stage.at("name"));
  EXPECT_THAT(stages, ::testing::ElementsAre("shared-expert", "dense-to-sparse", "sparse"));
  EXPECT_EQ(run.at("loads").at("updates"), json({12, 16, 20, 24})) << "from the spawn on";
  EXPECT_EQ(run.at("loads").at("load")[0][0].size(), 4U);
  // Experts that were masked at random are less alike than copies.
  const auto& similarity = run.at("similarity");
  EXPECT_EQ(similarity.at("updates"), json({9, 16, 24})) << "the spawn, and validations behind it";
  EXPECT_EQ(run.at("similarity_lines")[0].at("when"), "spawn");
  EXPECT_NEAR(similarity.at("similarity")[0].get<double>(), 0.5, 0.15);
}

TEST_F(ReportCommand, WritesOnePageIntoTheRunFolderOrWhereItIsTold) {
  train("run", "");
  EXPECT_EQ(evomoe("report " + path("run")).exit_code, 0);
  EXPECT_THAT(testing::read_text(folder_ / "run/report.html"),
              AllOf(HasSubstr("<!doctype html>"), HasSubstr("\"name\":\"run\"")));
  EXPECT_EQ(evomoe(fmt::format("report {} -o {}", path("run"), path("page.html"))).exit_code, 0);
  EXPECT_TRUE(fs::exists(folder_ / "page.html"));
}

TEST_F(ReportCommand, TellsWhichTokensGoToWhichExpert) {
  train("run",
        "--moe-freq 2 --moe-expert-count 4 --moe-top1-expert --criterion moe_cross_entropy "
        "--moe-eval-capacity-token-fraction -1 ");
  const auto tokens = data_of(path("run") + " --tokens 300").at("runs")[0].at("tokens");
  EXPECT_GE(tokens.at("tokens").get<int>(), 300);
  ASSERT_EQ(tokens.at("layers").size(), 1U);
  const auto& layer = tokens.at("layers")[0];
  ASSERT_EQ(layer.at("route").size(), tokens.at("text").size());
  size_t routed = 0;
  for (const auto& route : layer.at("route")) {
    ASSERT_LE(route.size(), 1U) << "top-1, or dropped";
    routed += route.size();
  }
  EXPECT_GT(routed, layer.at("route").size() / 2);
  const auto text = tokens.at("text").get<std::vector<std::string>>();
  EXPECT_THAT(text, ::testing::Contains("the ")) << "a word of each line";
  size_t typical = 0;
  for (size_t expert = 0; expert < layer.at("typical").size(); ++expert) {
    for (const auto& [word, count, share] :
         layer.at("typical")[expert].get<std::vector<std::tuple<std::string, int, double>>>()) {
      ++typical;
      EXPECT_GE(count, 3);
      EXPECT_GT(share, 0);
      EXPECT_LE(share, 1);
    }
  }
  EXPECT_GT(typical, 0U);
}

TEST_F(ReportCommand, TokensOfAModelWithoutExpertsAreNothing) {
  train("run", "");
  EXPECT_TRUE(data_of(path("run") + " --tokens").at("runs")[0].at("tokens").is_null());
}

TEST_F(ReportCommand, ReadsAHalfWrittenLogUpToThereAndSaysSo) {
  train("run", "");
  const auto log = testing::read_text(folder_ / "run/log.jsonl");
  testing::write_text(folder_ / "run/log.jsonl", log + R"({"tag": "train_inner", "comp)");
  const auto result = evomoe("report " + path("run"));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, AllOf(HasSubstr("run/log.jsonl"), HasSubstr("not complete")));
}

TEST_F(ReportCommand, RefusesWhatCannotBeShown) {
  train("run", "");
  fs::create_directories(folder_ / "empty");
  expect_refused("report " + path("nothing"), {"nothing", "no such run folder"}, 1);
  expect_refused("report " + path("empty"), {"empty", "no log.jsonl"}, 1);
  expect_refused("report", {"RUN"});
  expect_refused(fmt::format("report {0} {0} -o x.html", path("run")), {"the same run folder"});
  expect_refused(fmt::format("report {} -o {}", path("run"), path("x.pdf")), {"x.pdf", ".html"});
  expect_refused(fmt::format("report {} {}", path("run"), path("empty")), {"--output"});
  expect_refused(fmt::format("report {} -o {}", path("run"), path("missing/x.html")),
                 {"missing/x.html"}, 1);
  expect_refused(fmt::format("report {} --live 99999", path("run")), {"--live", "65535"});
  expect_refused(fmt::format("report {} --live 0 -o x.html", path("run")), {"--live", "--output"});
  expect_refused(fmt::format("report {} --tokens --checkpoint checkpoint_9", path("run")),
                 {"checkpoint_9"}, 1);
}

TEST_F(ReportCommand, ATrainingServesItsPage) {
  if (!has_live_server()) GTEST_SKIP() << "this build has no cpp-httplib (libcpp-httplib-dev)";
  const auto result = evomoe(train_arguments() + "--live 0");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("live page: http://127.0.0.1:"));
  expect_refused(train_arguments() + "--live 0 --no-save", {"--live", "--no-save"});
}

TEST_F(ReportCommand, ATrainingDoesNotBeginOnAPortInUse) {
  if (!has_live_server()) GTEST_SKIP() << "this build has no cpp-httplib (libcpp-httplib-dev)";
  const int other = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(at);
  ASSERT_EQ(::bind(other, reinterpret_cast<sockaddr*>(&at), size), 0);
  ASSERT_EQ(::listen(other, 1), 0);
  ASSERT_EQ(::getsockname(other, reinterpret_cast<sockaddr*>(&at), &size), 0);
  const auto port = std::to_string(ntohs(at.sin_port));
  expect_refused(train_arguments("other") + "--live " + port, {port, "uses it", "--live 0"}, 1);
  EXPECT_FALSE(fs::exists(folder_ / "other"));
  ::close(other);
}

}  // namespace
}  // namespace evomoe
