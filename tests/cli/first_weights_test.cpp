// A new run begins with the weights of another: every source of weights follows the same rules.
#include "evomoe/checkpoint/safetensors.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class FirstWeights : public Commands {
 protected:
  static constexpr auto* kTied = "--share-decoder-input-output-embed ";
  static constexpr auto* kExperts =
      "--moe-freq 2 --moe-expert-count 4 --moe-top1-expert "
      "--moe-eval-capacity-token-fraction -1 ";

  std::string weights_of(const std::string& run) const {
    return (folder_ / (run + "/checkpoint_last/model.safetensors")).string();
  }

  TensorMap trained(const std::string& run, const std::string& options) {
    const auto result = evomoe(train_arguments(run) + options + "--max-update 3");
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return read_safetensors(weights_of(run));
  }

  /// The model after two updates of a run that begins with `weights`.
  std::string begun_with(const TensorMap& weights, const std::string& options) {
    write_safetensors(folder_ / "x.safetensors", weights);
    return begun(options + "--init-from " + (folder_ / "x.safetensors").string());
  }

  std::string begun(const std::string& options) {
    std::filesystem::remove_all(folder_ / "begun");
    const auto result = evomoe(train_arguments("begun") + options + " --max-update 2");
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.exit_code == 0 ? model_file("begun") : "";
  }

  void expect_unfit(const TensorMap& weights, const std::vector<std::string>& words) {
    write_safetensors(folder_ / "x.safetensors", weights);
    expect_refused(
        train_arguments("unfit") + kTied + "--init-from " + (folder_ / "x.safetensors").string(),
        words, 1);
  }
};

TensorMap converted(TensorMap weights, torch::ScalarType type) {
  for (auto& [name, tensor] : weights) tensor = tensor.to(type);
  return weights;
}

TEST_F(FirstWeights, OfAnyFloatingTypeAndWithWhatAModelMakesItself) {
  const auto weights = trained("base", kTied);
  const auto expected = begun_with(weights, kTied);
  EXPECT_TRUE(begun_with(converted(weights, torch::kFloat64), kTied) == expected);
  for (const auto half : {torch::kFloat16, torch::kBFloat16}) {
    const auto halves = converted(weights, half);
    EXPECT_TRUE(begun_with(halves, kTied) == begun_with(converted(halves, torch::kFloat32), kTied));
  }
  const std::string table = "decoder.embed_tokens.weight",
                    output = "decoder.output_projection.weight";
  auto more = weights;
  more["decoder.version"] = torch::tensor({3.0F});
  more["decoder.embed_positions._float_tensor"] = torch::zeros({1});
  more[output] = weights.at(table).clone();
  EXPECT_TRUE(begun_with(more, kTied) == expected);
  more.erase(table);
  EXPECT_TRUE(begun_with(more, kTied) == expected) << "one name of the tied table is enough";
}

TEST_F(FirstWeights, WhatDoesNotFitIsListedWithTheRemedy) {
  const auto weights = trained("base", kTied);
  auto other = weights;
  other["decoder.output_projection.weight"] = weights.at("decoder.embed_tokens.weight") + 1;
  expect_unfit(other, {"different from what this model ties it to: decoder.output_projection",
                       "give the options of the run that the weights come from"});
  expect_unfit(converted(weights, torch::kInt32), {"of another shape or type"});
  auto lacking = weights;
  lacking.erase("decoder.layers.0.fc1.weight");
  lacking["decoder.layers.0.fc9.weight"] = torch::ones({1});
  expect_unfit(lacking, {"1 missing: decoder.layers.0.fc1.weight",
                         "1 unknown: decoder.layers.0.fc9.weight"});
}

TEST_F(FirstWeights, ExpertsMayHaveTheNamesOfFairseq) {
  const auto weights = trained("base", kExperts);
  auto theirs = weights;
  for (const auto& [name, tensor] : weights) {
    const auto at = name.find(".experts.");
    if (at == std::string::npos) continue;
    const auto part = name.substr(at + 9);
    theirs.erase(name);
    for (int64_t e = 0; e < tensor.size(0); ++e) {
      theirs[fmt::format("{}.experts.{}.fc{}.{}", name.substr(0, at), e, part[1],
                         part[0] == 'w' ? "weight" : "bias")] = tensor[e].clone();
    }
  }
  EXPECT_TRUE(begun_with(theirs, kExperts) == begun_with(weights, kExperts));
  theirs.erase("decoder.layers.1.moe_layer.experts.2.fc1.bias");
  write_safetensors(folder_ / "x.safetensors", theirs);
  expect_refused(
      train_arguments("unfit") + kExperts + "--init-from " + (folder_ / "x.safetensors").string(),
      {"has 3 experts, and the last one is number 3; some are missing"}, 1);
}

TEST_F(FirstWeights, ADenseModelBecomesExpertsFromAFileAsFromACheckpoint) {
  const auto weights = trained("base", "");
  for (const std::string schedule :
       {"", "--shared-expert-updates 4 --moe-train-capacity-token-fraction 0 "}) {
    const auto options = kExperts + schedule;
    EXPECT_TRUE(begun_with(weights, options) == begun(options + "--finetune-from-model " +
                                                      (folder_ / "base/checkpoint_last").string()));
  }
}

TEST_F(FirstWeights, AFileOfAnotherKindNamesTheOptionForIt) {
  trained("base", "");
  const auto last = (folder_ / "base/checkpoint_last").string();
  const auto theirs = (folder_ / "x.pt").string();
  ASSERT_EQ(evomoe("convert --to fairseq " + last + " --output " + theirs).exit_code, 0);
  expect_refused(train_arguments("other") + "--init-from " + theirs, {"--finetune-from-model"}, 1);
  expect_refused(train_arguments("other") + "--finetune-from-model " + weights_of("base"),
                 {"--init-from"}, 1);
  std::filesystem::copy_file(weights_of("base"), folder_ / "y.pt");
  expect_refused("info " + (folder_ / "y.pt").string(), {"safetensors file", "--init-from"}, 1);
  expect_refused("convert --output " + (folder_ / "out").string() + " " + last,
                 {"is a folder", "--to fairseq"}, 1);
}

TEST_F(FirstWeights, FinetuningIsRecommendedWhereItWorks) {
  trained("run", kExperts);
  const auto others = [](const std::string& option) {
    return std::string("it holds another model than these options make (") + option;
  };
  // Other weights: not the remedy, and it says why where it is tried.
  const std::string more = "--moe-freq 2 --moe-expert-count 8 --moe-top1-expert ";
  const auto refused = evomoe(train_arguments("run") + more);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr(others("--moe-expert-count 4 -> 8")));
  EXPECT_THAT(refused.err, HasSubstr("its weights do not fit"));
  EXPECT_THAT(refused.err, Not(HasSubstr("--finetune-from-model")));
  const auto finetune =
      " --finetune-from-model " + (folder_ / "run/checkpoint_last").string() + " ";
  expect_refused(train_arguments("fine") + more + finetune,
                 {"of another shape", "(--moe-expert-count 4 -> 8); use the values of that run"},
                 1);
  // The same weights in another model.
  const auto other = kExperts + std::string("--activation-fn relu ");
  expect_refused(train_arguments("run") + other,
                 {others("--activation-fn "), "--finetune-from-model"}, 1);
  EXPECT_EQ(evomoe(train_arguments("fine") + other + finetune + "--max-update 2").exit_code, 0);
}

TEST_F(FirstWeights, OptionsThatMakeAnotherModelOfTheSameWeightsAreWarnedOf) {
  for (const std::string model : {"", kExperts}) {
    trained("base" + std::to_string(model.size()), model);
    const auto result =
        evomoe(train_arguments("other" + std::to_string(model.size())) + model +
               " --activation-fn relu --max-update 1 --finetune-from-model " +
               (folder_ / ("base" + std::to_string(model.size()))).string() + "/checkpoint_last");
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("trained in another model: --activation-fn"));
  }
}

TEST_F(FirstWeights, TheHalvesOfATranslationModelAreComparedByTheirOwnFlags) {
  for (const auto* half : {"train", "valid"}) {
    for (const auto* side : {"a", "b"})
      std::filesystem::copy_file(folder_ / (std::string(half) + ".txt"),
                                 folder_ / fmt::format("{}.{}", half, side));
  }
  const auto folder = folder_.path().string();
  ASSERT_EQ(evomoe(fmt::format("preprocess -s a -t b --joined-dictionary --trainpref {0}/train "
                               "--validpref {0}/valid --destdir {0}/pairs",
                               folder))
                .exit_code,
            0);
  const auto train = [&](int encoder_layers, const std::string& run) {
    return fmt::format(
        "train {0}/pairs --save-dir {0}/{2} --task translation --arch transformer "
        "--encoder-layers {1} --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 "
        "--encoder-ffn-embed-dim 32 --decoder-ffn-embed-dim 24 --encoder-attention-heads 2 "
        "--decoder-attention-heads 2 --share-all-embeddings --batch-size 8 --lr 0.001 "
        "--log-format none --threads 1 ",
        folder, encoder_layers, run);
  };
  ASSERT_EQ(evomoe(train(2, "run") + "--max-update 2").exit_code, 0);
  const auto more = evomoe(train(2, "run") + "--max-update 3");
  EXPECT_EQ(more.exit_code, 0) << more.err;
  expect_refused(train(3, "run") + "--max-update 4", {"(--encoder-layers 2 -> 3)"}, 1);
  expect_refused(
      train(3, "new") + "--max-update 4 --finetune-from-model " + folder + "/run/checkpoint_last",
      {"(--encoder-layers 2 -> 3); use the values of that run"}, 1);
  const auto info = evomoe("info " + folder + "/run/checkpoint_last");
  EXPECT_THAT(info.out, HasSubstr("transformer, encoder: 2 layers"));
  EXPECT_THAT(info.out, HasSubstr("transformer, decoder: 1 layers"));
}

}  // namespace
}  // namespace evomoe
