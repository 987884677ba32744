// Checkpoints of earlier versions of the program (tests/golden/checkpoints).
#include <cmath>
#include <filesystem>

#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

/// Everything as in `expected`, numbers within a thousandth. What only `found` has may be new.
void expect_near(const json& found, const json& expected, const std::string& where) {
  if (expected.is_object()) {
    for (const auto& [key, value] : expected.items()) {
      ASSERT_TRUE(found.is_object() && found.contains(key)) << where << "." << key;
      expect_near(found.at(key), value, where + "." + key);
    }
  } else if (expected.is_number_float()) {
    ASSERT_TRUE(found.is_number_float()) << where;
    const auto value = expected.get<double>();
    EXPECT_NEAR(found.get<double>(), value, 1e-3 * std::max(1.0, std::abs(value))) << where;
  } else {
    EXPECT_EQ(found, expected) << where;
  }
}

/// The meters of a group by name, but for those that measure time.
json by_key(const json& meters) {
  json found = json::object();
  for (const auto& meter : meters) {
    if (meter.at("kind") != "time" && meter.at("kind") != "stopwatch")
      found[meter.at("key").get<std::string>()] = meter;
  }
  return found;
}

json sections_with_named_meters(json sections) {
  for (auto& group : sections.at("progress").at("meters")) group = by_key(group);
  return sections;
}

class OldCheckpoint : public Commands {
 protected:
  void SetUp() override {
    const auto result =
        evomoe(fmt::format("preprocess --only-source --trainpref {0}/train.txt --validpref "
                           "{0}/valid.txt --destdir {1}/bin",
                           old_.string(), folder_.path().string()));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    fs::copy(old_ / "run", folder_ / "run", fs::copy_options::recursive);
  }

  const fs::path old_ = testing::golden_dir() / "checkpoints/0.1.0";
};

TEST_F(OldCheckpoint, ARunOf010GoesOnAsItDidThere) {
  const auto result = evomoe(fmt::format(
      "train {0}/bin --save-dir {0}/run --arch transformer_lm_gpt2_tiny --decoder-layers 2 "
      "--decoder-embed-dim 8 --decoder-ffn-embed-dim 8 --decoder-attention-heads 2 --dropout 0.1 "
      "--tokens-per-sample 16 --batch-size 4 --lr 0.01 --log-format none --log-interval 5 "
      "--threads 1 --moe-freq 2 --moe-expert-count 4 --moe-topk-expert --criterion "
      "moe_cross_entropy --use-gumbel-softmax --max-temperature 2 --min-temperature 0.3 "
      "--gumbel-decay-scheduler Linear --gumbel-decay-factor 20 --switch-to-hard-gumbel-softmax 16 "
      "--shared-expert-updates 4 --moe-eval-capacity-token-fraction -1 "
      "--validate-interval-updates 5 --maximize-best-checkpoint-metric --patience 9 "
      "--no-epoch-checkpoints --no-best-checkpoints --max-update 18",
      folder_.path().string()));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("(epoch 1, 12 updates)"));
  EXPECT_THAT(result.err, HasSubstr("other than in that run: --max-update 12 -> 18\n"));
  const auto found = testing::read_json(folder_ / "run/checkpoint_last/manifest.json");
  const auto expected = testing::read_json(old_ / "continued.json");
  expect_near(sections_with_named_meters(found.at("sections")),
              sections_with_named_meters(expected), "sections");
}

TEST_F(OldCheckpoint, OneOf010IsDescribedAndEvaluated) {
  const auto checkpoint = (folder_ / "run/checkpoint_last").string();
  const auto info = evomoe("info " + checkpoint + " --log-format json");
  ASSERT_EQ(info.exit_code, 0) << info.err;
  const auto facts = json::parse(info.out);
  const auto sections = testing::read_json(folder_ / "run/checkpoint_last/manifest.json");
  EXPECT_EQ(facts.at("updates"), 12);
  EXPECT_EQ(facts.at("evolution"), sections.at("sections").at("evolution"));
  EXPECT_EQ(facts.at("checkpoint"), sections.at("sections").at("checkpoint"));
  EXPECT_EQ(facts.at("config"), sections.at("sections").at("config"));
  const auto text = evomoe("info " + checkpoint);
  for (const auto* words : {"dense-to-sparse", "1.32", "best loss", "6.086"})
    EXPECT_THAT(text.out, HasSubstr(words));

  const auto valid =
      evomoe(fmt::format("validate {}/bin --path {} --log-format json --batch-size 4",
                         folder_.path().string(), checkpoint));
  ASSERT_EQ(valid.exit_code, 0) << valid.err;
  const auto line = json::parse(valid.out.substr(valid.out.find('{')));
  EXPECT_EQ(line.at("valid_num_updates"), "12");
  EXPECT_NEAR(std::stod(line.at("valid_loss").get<std::string>()), 6.086, 2e-3)
      << "as in the section checkpoint";
}

}  // namespace
}  // namespace evomoe
