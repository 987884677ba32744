#include "evomoe/page/report_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "evomoe/base/error.h"
#include "evomoe/page/embedded_files.h"
#include "tests/page/made_run.h"

namespace evomoe {
namespace {

using nlohmann::ordered_json;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

class Page : public ::testing::Test {
 protected:
  std::string path(const std::string& run) const { return (folder_ / run).string(); }
  ordered_json page(const std::vector<std::string>& runs) const {
    std::vector<std::string> folders;
    for (const auto& run : runs) folders.push_back(path(run));
    ReportPage page({.folders = folders, .version = "1.2.3"});
    page.update();
    return page.json();
  }
  static std::string sentences(const ordered_json& texts) {
    std::string all;
    for (const auto& text : texts) all += text.get<std::string>() + "\n";
    return all;
  }

  /// A page is too long to be told of as a whole.
  static bool has(const std::string& html, const std::string& text) {
    return html.find(text) != std::string::npos;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(Page, HoldsTheNumbersOfALog) {
  make_run(folder_ / "a");
  const auto run = page({"a"}).at("runs")[0];
  const auto& training = run.at("training");
  EXPECT_THAT(training.at("updates"), ElementsAre(10, 20, 30, 40));
  EXPECT_THAT(training.at("tokens"), ElementsAre(1000, 2000, 3000, 4000));
  EXPECT_EQ(training.at("loss")[3], 7.1429);
  EXPECT_EQ(training.at("temperature")[3], 0.05);
  EXPECT_EQ(training.at("gradient_norm")[0], 1.5);
  EXPECT_EQ(training.at("entropy")[0], 1.0) << "the median of 1.1 and .9";
  EXPECT_EQ(training.at("entropy.low")[0], .92);
  EXPECT_EQ(training.at("dead_experts")[0], 2);
  EXPECT_THAT(run.at("validations").at("valid").at("perplexity"), ElementsAre(50, 40));
  EXPECT_EQ(run.at("stages"), ordered_json::parse(R"([{"update": 25, "name": "sparse"}])"));
  EXPECT_THAT(run.at("loads").at("updates"), ElementsAre(10, 20, 30, 40));
  EXPECT_THAT(run.at("loads").at("load")[0][1], ElementsAre(200, 100, 100, 0));
  EXPECT_EQ(run.at("settings").at("lr"), "0.001");
}

TEST_F(Page, SaysInSentencesWhatTheFiguresAre) {
  make_run(folder_ / "a");
  EXPECT_THAT(
      sentences(page({"a"}).at("runs")[0].at("sentences")),
      AllOf(HasSubstr("40 updates, 4000 tokens"),
            HasSubstr("fell from 9.091 bits (update 10) to 7.143 (update 40)"),
            HasSubstr("perplexity of 'valid' is 40.00 at update 40, its lowest"),
            HasSubstr("sparse from update 25"), HasSubstr("2 experts of 2 layers got no token"),
            HasSubstr("least even layer is 3, whose busiest expert has 2 times")));
}

TEST_F(Page, ComparesRunsAndShowsWhichOptionsDiffer) {
  make_run(folder_ / "a");
  make_run(folder_ / "b", made_log(), "optimization:\n  lr: [0.002]\nmoe:\n  moe_freq: 2\n");
  const auto json = page({"a", "b"});
  EXPECT_EQ(json.at("differences"), ordered_json::parse(R"([
    {"option": "lr", "values": ["0.001", "0.002"]}, {"option": "moe-freq", "values": [null, "2"]}])"));
  EXPECT_THAT(sentences(json.at("comparison")), HasSubstr("perplexity is 40.00"));
}

TEST_F(Page, RunsWithOtherDictionariesAreNotComparedByPerplexity) {
  make_run(folder_ / "a");
  make_run(folder_ / "b");
  for (const auto& [run, vocabulary] : {std::pair{"a", 100}, {"b", 200}}) {
    testing::write_text(
        folder_ / (run + std::string("/data.json")),
        fmt::format(R"({{"data": "bin", "model": {{"vocabulary": {}}}}})", vocabulary));
  }
  EXPECT_THAT(sentences(page({"a", "b"}).at("comparison")),
              AllOf(HasSubstr("not comparable"), HasSubstr("vocabularies of 200 against 100"),
                    Not(HasSubstr("is best"))));
}

TEST_F(Page, AHalfWrittenRunFolderIsShownAsFarAsItIs) {
  make_run(folder_ / "begun", "");
  std::filesystem::remove(folder_ / "begun/config.yaml");
  make_run(folder_ / "cut", made_log() + R"({"tag": "train_inner", "comp)", "optim: [\n");
  const auto json = page({"begun", "cut"});
  EXPECT_THAT(sentences(json.at("runs")[0].at("sentences")),
              AllOf(HasSubstr("logged nothing yet"), HasSubstr("no config.yaml")));
  EXPECT_THAT(sentences(json.at("runs")[1].at("sentences")),
              AllOf(HasSubstr("not complete"), HasSubstr("config.yaml cannot be read")));
  EXPECT_EQ(json.at("runs")[1].at("training").at("updates").size(), 4U);
  EXPECT_THAT(sentences(json.at("comparison")), HasSubstr("begun"));
}

TEST_F(Page, WhatIsNoRunIsRefused) {
  make_run(folder_ / "a");
  std::filesystem::create_directories(folder_ / "empty");
  EXPECT_THAT([&] { page({"nothing"}); }, ThrowsMessage<Error>(HasSubstr("no such run folder")));
  EXPECT_THAT([&] { page({"empty"}); }, ThrowsMessage<Error>(HasSubstr("no log.jsonl")));
  EXPECT_THAT([&] { page({"a", "a/"}); }, ThrowsMessage<UsageError>(HasSubstr("same run folder")));
  make_run(folder_ / "damaged", "{\"tag\n" + made_log());
  EXPECT_THAT([&] { page({"damaged"}); }, ThrowsMessage<Error>(HasSubstr("log.jsonl:1")));
}

TEST_F(Page, FollowsALogThatGrows) {
  make_run(folder_ / "a");
  ReportPage page({.folders = {path("a")}});
  EXPECT_TRUE(page.update());
  EXPECT_FALSE(page.update());
  std::ofstream(folder_ / "a/log.jsonl", std::ios::app) << training_line(50);
  EXPECT_TRUE(page.update());
  EXPECT_EQ(page.json().at("runs")[0].at("training").at("updates").back(), 50);
  make_run(folder_ / "other", training_line(10) + training_line(15));
  std::filesystem::rename(folder_ / "other/log.jsonl", folder_ / "a/log.jsonl");
  EXPECT_TRUE(page.update());
  EXPECT_THAT(page.json().at("runs")[0].at("training").at("updates"), ElementsAre(10, 15));
}

TEST_F(Page, OfAHugeRunStaysSmall) {
  // 100 layers of 256 experts, and a line for each of 3000 updates: thinned as often as 100,000
  // are.
  std::string routers;
  for (int layer = 0; layer < 100; ++layer) {
    routers += fmt::format(R"({}{{"layer": {}, "entropy": 1.2345678, "max_vio": 0.7654321)",
                           layer == 0 ? "" : ", ", layer);
    routers += "LOAD}";
  }
  std::string load = R"(, "load": [)";
  for (int expert = 0; expert < 256; ++expert)
    load += fmt::format("{}{}", expert == 0 ? "" : ", ", 1000 + 37 * expert % 991);
  load += "]";
  const auto with = [&](const std::string& text) {
    auto all = routers;
    for (size_t at; (at = all.find("LOAD")) != std::string::npos;) all.replace(at, 4, text);
    return all;
  };
  const auto loaded = with(load), plain = with("");
  std::filesystem::create_directories(folder_ / "a");
  {
    std::ofstream file(folder_ / "a/log.jsonl");
    for (int update = 1; update <= 3000; ++update) {
      file
          << fmt::format(
                 R"({{"tag": "train_inner", "completed_updates": {}, "loss": {}, "active_experts": 2.0, )"
                 R"("routers": [{}], "elapsed": {}.5, "flops": 1.234567e15, "train_tokens": 12345678.0}})",
                 update, 10 - std::log(update), update % 50 == 0 ? loaded : plain, update)
          << "\n";
    }
  }
  const auto json = page({"a"});
  const auto& run = json.at("runs")[0];
  EXPECT_LE(run.at("training").at("updates").size(), 2000U);
  EXPECT_EQ(run.at("training").at("updates").back(), 3000);
  EXPECT_EQ(run.at("loads").at("updates").back(), 3000);
  EXPECT_GT(run.at("loads").at("updates").size(), 8U);
  EXPECT_LT(page_json(json).size(), 4'500'000U);
}

TEST_F(Page, TextOfARunNeverBecomesMarkup) {
  if (dygraph_min_js().empty()) GTEST_SKIP() << "this build has no dygraphs (libjs-dygraphs)";
  make_run(folder_ / "a", made_log(), "task:\n  note: \"</script><script>alert(1)</script>\"\n");
  const auto html = page_html(page_json(page({"a"})), /*live=*/false);
  EXPECT_FALSE(has(html, "alert(1)</script>"));
  EXPECT_TRUE(has(html, "\\u003cscript>alert(1)"));
}

TEST_F(Page, IsOneFile) {
  if (dygraph_min_js().empty()) GTEST_SKIP() << "this build has no dygraphs (libjs-dygraphs)";
  make_run(folder_ / "a");
  const auto html = page_html(page_json(page({"a"})), /*live=*/false);
  for (const auto* word :
       {"<script src", "<link rel=\"stylesheet", "@import", "sourceMappingURL", "url("})
    EXPECT_FALSE(has(html, word)) << word;
  for (const auto* part :
       {"{{style}}", "{{script}}", "{{data}}", "{{plotting library}}", "{{live}}"})
    EXPECT_FALSE(has(html, part)) << part << " is not filled in";
}

}  // namespace
}  // namespace evomoe
