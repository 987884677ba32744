// Text goes into and comes out of models of transformers (EVOMOE_PYTHON) by our commands, and of
// ours by theirs: huggingface_text.py makes tiny models with tokenizers, and runs them.
#include <algorithm>

#include "evomoe/checkpoint/safetensors.h"
#include "evomoe/generate/generation_model.h"
#include "evomoe/hub/hub_vocabulary.h"
#include "evomoe/loading/loaded_model.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const std::vector<std::string>& prompts() {
  static const std::vector<std::string> texts = {
      "the w4 sees",      " naïve 12345 日本語 ", "a<|im_end|>b\nnext  line\n\n",
      "<s> </s> <unk> x", "a<|im_end|> w5",       "👩‍👩‍👧‍👦 \"quoted\" 'single'"};
  return texts;
}

class HuggingFaceText : public Commands {
 protected:
  void SetUp() override {
    if (!testing::has_transformers()) {
      GTEST_SKIP() << "no transformers in " << testing::python()
                   << "; EVOMOE_PYTHON names a Python that has it";
    }
    Commands::SetUp();
    testing::write_text(folder_ / "prompts.json", nlohmann::json(prompts()).dump());
  }

  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  static void run(const std::string& arguments) {
    const auto result = evomoe(arguments);
    ASSERT_EQ(result.exit_code, 0) << arguments << "\n" << result.err;
  }
  static void python(const std::string& arguments) {
    const auto script = testing::source_dir() / "tests/cli/huggingface_text.py";
    const auto result = testing::run_command(
        fmt::format("{} {} {}", testing::python().string(), script.string(), arguments));
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  /// What `generate` writes behind a prompt.
  std::string continued(const std::string& run_folder, const std::string& prompt) const {
    testing::write_text(folder_ / "prompt.sh",
                        fmt::format("prompt=$(cat <<'END'\n{}x\nEND\n)\n{} generate --path "
                                    "{}/checkpoint_last --prompt \"${{prompt%x}}\" --max-len 64 "
                                    "--greedy --stop-at-eos --keep-whitespace --threads 1 "
                                    "--log-format json\n",
                                    prompt, testing::program().string(), at(run_folder)));
    const auto result = testing::run_command("bash " + at("prompt.sh"));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    if (result.exit_code != 0) return "";
    return nlohmann::json::parse(result.out).at("text").get<std::string>();
  }

  /// Ids, logits and text of the prompts are those of `answers`, in which ids are as `rows` says.
  void expect_same(const std::string& run_folder, const fs::path& answers) {
    SCOPED_TRACE(run_folder);
    const auto theirs = testing::read_json(answers / "answers.json");
    const auto logits = read_safetensors(answers / "logits.safetensors");
    LoadOptions load;
    load.common.device = "cpu";
    const auto models = load_models(at(run_folder + "/checkpoint_last"), load);
    const auto model = generation_model(models, {}, "a test");
    const auto rows = hub_rows(models.front().dictionary, models.front().bpe.get());
    ASSERT_FALSE(rows.ours.empty());
    for (size_t i = 0; i < prompts().size(); ++i) {
      SCOPED_TRACE(prompts()[i]);
      // An end of line is an end of sentence to a model of ours.
      if (!model.prompt_start && prompts()[i].find('\n') != std::string::npos) continue;
      const auto tokens = source_tokens(model, prompts()[i], /*keep_whitespace=*/true);
      std::vector<int64_t> expected;
      for (const auto& id : theirs.at("ids")[i]) expected.push_back(rows.ours.at(id.get<size_t>()));
      EXPECT_EQ(tokens, expected);
      const torch::NoGradGuard no_grad;
      auto gpt = models.front().language_model("a test");
      const auto x = gpt->forward(torch::tensor(tokens).unsqueeze(0), ForwardContext()).x_BSD;
      const auto found =
          torch::matmul(x, gpt->output_weight().t())[0].index_select(1, torch::tensor(rows.ours));
      const auto& wanted = logits.at(std::to_string(i));
      ASSERT_EQ(found.sizes(), wanted.sizes());
      EXPECT_LT((found - wanted).abs().max().item<double>(),
                1e-4 * wanted.abs().max().item<double>());
      EXPECT_EQ(continued(run_folder, prompts()[i]), theirs.at("texts")[i].get<std::string>());
    }
  }
};

TEST_F(HuggingFaceText, OfTheirModelsIsTheSameHereAndBackThere) {
  python("make " + at("theirs"));
  const std::vector<std::string> names = {"llama", "smollm", "qwen3_moe"};
  std::string models;
  for (const auto& name : names) {
    run(fmt::format("convert {} --from hf --output {}", at("theirs/" + name), at(name)));
    models += fmt::format(" {}={}", at("theirs/" + name), at(name + "/dict.ids.json"));
  }
  python(fmt::format("answer {}{}", at("prompts.json"), models));
  for (const auto& name : names) {
    const auto theirs = folder_ / ("theirs/" + name);
    expect_same(name, theirs);
    const auto back = folder_ / (name + "-back");
    run(fmt::format("convert {}/checkpoint_last --to hf --output {}", at(name), back.string()));
    const auto before = read_safetensors(theirs / "model.safetensors");
    const auto after = read_safetensors(back / "model.safetensors");
    ASSERT_EQ(before.size(), after.size());
    for (const auto& [tensor, values] : before)
      EXPECT_TRUE(torch::equal(values, after.at(tensor))) << tensor;
    for (const auto* file : {"tokenizer.json", "tokenizer_config.json"})
      EXPECT_EQ(testing::read_text(theirs / file), testing::read_text(back / file)) << file;
    EXPECT_EQ(testing::read_json(theirs / "generation_config.json"),
              testing::read_json(back / "generation_config.json"));
    for (const auto* field : {"vocab_size", "bos_token_id", "eos_token_id", "pad_token_id"}) {
      EXPECT_EQ(testing::read_json(theirs / "config.json").value(field, nlohmann::json()),
                testing::read_json(back / "config.json").value(field, nlohmann::json()))
          << field;
    }
  }

  run(fmt::format("bpe encode {0}/valid.txt --hf-tokenizer {0}/llama --output {0}/ids.txt",
                  folder_.path().string()));
  run(
      fmt::format("bpe decode {0}/ids.txt --hf-tokenizer {0}/llama/tokenizer.json --output "
                  "{0}/again.txt",
                  folder_.path().string()));
  EXPECT_EQ(testing::read_text(folder_ / "again.txt"), testing::read_text(folder_ / "valid.txt"));

  // A line that one prompt does not share with the next: each has a start of its own.
  testing::write_text(folder_ / "lines.txt", "the w4\nw5 sees\nnaïve\n");
  const auto written = evomoe(fmt::format(
      "interactive --path {0}/smollm/checkpoint_last --input {0}/lines.txt --buffer-size 3 "
      "--batch-size 3 --beam 1 --max-len-b 9 --threads 1",
      folder_.path().string()));
  ASSERT_EQ(written.exit_code, 0) << written.err;
  for (const auto* line : {"the w4", "w5 sees", "naïve"})
    EXPECT_THAT(written.out, HasSubstr(std::string("\t") + line));

  // Their text becomes data of ours; what is trained on it goes back with the tokenizer.
  run(
      fmt::format("preprocess --only-source --bpe hf --hf-tokenizer {0}/theirs/smollm --srcdict "
                  "{0}/smollm/dict.txt --trainpref {0}/train.txt --validpref {0}/valid.txt "
                  "--destdir {0}/data",
                  folder_.path().string()));
  run(
      fmt::format("eval-lm {0}/data --path {0}/smollm/checkpoint_last --gen-subset valid "
                  "--log-format json",
                  folder_.path().string()));
  run(
      fmt::format("train {0}/data --config {0}/smollm/config.yaml --finetune-from-model "
                  "{0}/smollm/checkpoint_last --save-dir {0}/tuned --tokens-per-sample 16 "
                  "--batch-size 4 --lr 0.001 --max-update 2 --log-format none --threads 1",
                  folder_.path().string()));
  run(fmt::format("convert {0}/tuned/checkpoint_last --to hf --output {0}/tuned-hf",
                  folder_.path().string()));
  python(fmt::format("answer {} {}={}", at("prompts.json"), at("tuned-hf"),
                     at("smollm/dict.ids.json")));
  expect_same("tuned", folder_ / "tuned-hf");
}

TEST_F(HuggingFaceText, OfOurModelsIsTheSameThereAndBackHere) {
  run(fmt::format("bpe train {0}/train.txt --vocab-size 300 --destdir {0}/bpe --keep-whitespace",
                  folder_.path().string()));
  run(
      fmt::format("preprocess --only-source --trainpref {0}/train.txt --validpref {0}/valid.txt "
                  "--destdir {0}/data --bpe gpt2 --gpt2-encoder-json {0}/bpe/encoder.json "
                  "--gpt2-vocab-bpe {0}/bpe/vocab.bpe --keep-whitespace",
                  folder_.path().string()));
  // With a tokenizer of theirs, which finds its special tokens in texts, or leaves them as text.
  python("make " + at("theirs"));
  const auto preprocess_by_theirs = [&](const std::string& data) {
    run(
        fmt::format("preprocess --only-source --trainpref {0}/train.txt --validpref {0}/valid.txt "
                    "--destdir {0}/{1} --bpe hf --hf-tokenizer {0}/theirs/smollm --keep-whitespace",
                    folder_.path().string(), data));
  };
  testing::write_text(folder_ / "train.txt",
                      testing::read_text(folder_ / "train.txt") + "a<|im_end|> and <|im_start|>\n");
  preprocess_by_theirs("found");
  auto config = testing::read_json(folder_ / "theirs/smollm/tokenizer_config.json");
  config["split_special_tokens"] = true;
  testing::write_text(folder_ / "theirs/smollm/tokenizer_config.json", config.dump());
  preprocess_by_theirs("as_text");

  struct Run {
    std::string name, data, arguments;
  };
  const std::vector<Run> runs = {{"llama", "data", "--arch llama_tiny"},
                                 {"qwen3_moe", "data", "--arch qwen3_moe_tiny --add-bos-token"},
                                 {"olmoe", "data", "--arch olmoe_tiny"},
                                 {"found_special", "found", "--arch llama_tiny"},
                                 {"special_as_text", "as_text", "--arch llama_tiny"}};
  std::string models;
  for (const auto& [name, data, arguments] : runs) {
    run(
        fmt::format("train {0}/{1} --save-dir {0}/{2} {3} --decoder-layers 2 "
                    "--decoder-embed-dim 16 --decoder-ffn-embed-dim 32 --tokens-per-sample 16 "
                    "--max-target-positions 256 --batch-size 4 --lr 0.003 --max-update 3 "
                    "--log-format none --threads 1",
                    folder_.path().string(), data, name, arguments));
    run(fmt::format("convert {0}/{1}/checkpoint_last --to hf --output {0}/{1}-hf",
                    folder_.path().string(), name));
    models += fmt::format(" {}=", at(name + "-hf"));
  }
  python(fmt::format("answer {}{}", at("prompts.json"), models));
  for (const auto& each : runs) {
    expect_same(each.name, folder_ / (each.name + "-hf"));
    // And back: a model of theirs that begins as ours.
    const auto back = each.name + "-back";
    run(fmt::format("convert {} --from hf --output {}", at(each.name + "-hf"), at(back)));
    expect_same(back, folder_ / (each.name + "-hf"));
  }
}

TEST_F(HuggingFaceText, ATokenizerOfAnotherSizeOrKindIsNamed) {
  python("make " + at("theirs"));
  const auto model = folder_ / "theirs/llama";
  auto tokenizer = testing::read_json(model / "tokenizer.json");
  const auto rows = testing::read_json(model / "config.json").at("vocab_size").get<int>();
  auto larger = tokenizer;
  larger["added_tokens"].push_back({{"id", rows}, {"content", "<|more|>"}, {"special", true}});
  testing::write_text(model / "tokenizer.json", larger.dump());
  expect_refused(fmt::format("convert {} --from hf --output {}", model.string(), at("run")),
                 {fmt::format("has {} tokens, and the model {} rows", rows + 1, rows)}, 1);
  auto config = testing::read_json(model / "config.json");
  config["eos_token_id"] = rows;
  testing::write_text(model / "tokenizer.json", tokenizer.dump());
  const auto whole = testing::read_text(model / "config.json");
  testing::write_text(model / "config.json", config.dump());
  expect_refused(fmt::format("convert {} --from hf --output {}", model.string(), at("run")),
                 {fmt::format("`eos_token_id` is {}", rows)}, 1);
  testing::write_text(model / "config.json", whole);
  tokenizer["model"]["type"] = "Unigram";
  testing::write_text(model / "tokenizer.json", tokenizer.dump());
  const auto result =
      evomoe(fmt::format("convert {} --from hf --output {}", model.string(), at("run")));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("its model is \"Unigram\""));
  EXPECT_FALSE(fs::exists(folder_ / "run/tokenizer.json"));
}

}  // namespace
}  // namespace evomoe
