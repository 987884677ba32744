#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "evomoe/checkpoint/safetensors.h"
#include "evomoe/loading/loaded_model.h"
#include "tests/testing/paths.h"

namespace evomoe {

/// A Python with transformers (EVOMOE_PYTHON); huggingface_models.py makes and runs models there.
class Transformers : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::has_transformers()) {
      GTEST_SKIP() << "no transformers in " << python()
                   << "; EVOMOE_PYTHON names a Python that has it";
    }
  }

  static std::string python() { return testing::python().string(); }
  static std::string script() {
    return (testing::source_dir() / "tests/hub/huggingface_models.py").string();
  }

  /// What answers() of the script makes, by us.
  static TensorMap our_answers(const std::filesystem::path& checkpoint,
                               const torch::Tensor& token_BS) {
    const torch::NoGradGuard no_grad;
    LoadOptions load;
    load.common.device = "cpu";
    const auto loaded = load_model(checkpoint, load);
    auto model = loaded.language_model("a test");
    ForwardContext plain;
    plain.mask_padding_in_moe = loaded.options.moe.use_moe_pad_mask;
    const auto logits_of = [&](const torch::Tensor& tokens, const ForwardContext& context) {
      return torch::matmul(model->forward(tokens, context).x_BSD, model->output_weight().t());
    };
    TensorMap found;
    found["logits"] = logits_of(token_BS, plain);
    auto padded = plain;
    padded.padding_BS = torch::zeros_like(token_BS, torch::kBool);
    padded.padding_BS[1].slice(0, -4).fill_(true);
    found["padded"] = logits_of(token_BS, padded);
    const auto with_cache = [&](KeyValueCache& cache) {
      auto context = plain;
      context.cache = &cache;
      return context;
    };
    KeyValueCache cache;
    std::vector<torch::Tensor> parts = {logits_of(token_BS.slice(1, 0, 5), with_cache(cache))};
    for (int64_t i = 5; i < token_BS.size(1); ++i)
      parts.push_back(logits_of(token_BS.slice(1, i, i + 1), with_cache(cache)));
    found["cached"] = torch::cat(parts, 1);
    KeyValueCache generating;
    auto written = token_BS.slice(0, 0, 1).slice(1, 0, 6), next = written;
    for (int i = 0; i < 12; ++i) {
      next = logits_of(next, with_cache(generating)).slice(1, -1).argmax(-1);
      written = torch::cat({written, next}, 1);
    }
    found["generated"] = written;
    return found;
  }

  static void expect_close(const torch::Tensor& found, const torch::Tensor& expected,
                           const std::string& name) {
    ASSERT_EQ(found.sizes(), expected.sizes()) << name;
    const auto scale = expected.abs().max().item<double>();
    EXPECT_GT(scale, 0.1) << name;
    EXPECT_LT((found - expected).abs().max().item<double>(), 1e-4 * scale) << name;
  }

  static void expect_same_answers(const TensorMap& found, const TensorMap& expected,
                                  const std::string& name) {
    ASSERT_FALSE(found.empty() || expected.empty()) << name;
    for (const std::string key : {"logits", "cached"})
      expect_close(found.at(key), expected.at(key), name + ", " + key);
    // What padding itself becomes means nothing.
    for (const int64_t row : {0, 1}) {
      const auto tokens = [&](const TensorMap& answers) {
        const auto& padded = answers.at("padded");
        return padded[row].slice(0, 0, padded.size(1) - (row == 1 ? 4 : 0));
      };
      expect_close(tokens(found), tokens(expected), name + ", padded");
    }
    EXPECT_TRUE(torch::equal(found.at("generated"), expected.at("generated")))
        << name << "\n"
        << found.at("generated") << "\n"
        << expected.at("generated");
  }

  /// What transformers makes of the tokens with these models, all at once: what is slow is to start
  /// Python.
  std::vector<TensorMap> their_answers(const std::vector<std::filesystem::path>& models,
                                       const torch::Tensor& token_BS) const {
    const auto tokens = folder_ / "tokens.safetensors";
    write_safetensors(tokens, {{"tokens", token_BS}});
    auto command = fmt::format("HF_HOME={} {} {} answer {}", (folder_ / "cache").string(), python(),
                               script(), tokens.string());
    for (const auto& model : models) command += " " + model.string();
    const auto run = testing::run_command(command);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_THAT(run.err, ::testing::Not(::testing::HasSubstr("newly initialized")));
    std::vector<TensorMap> answers;
    for (const auto& model : models) {
      const auto file = model / "answers.safetensors";
      answers.push_back(std::filesystem::exists(file) ? read_safetensors(file) : TensorMap());
    }
    return answers;
  }

  testing::TemporaryFolder folder_;
};

}  // namespace evomoe
