// Checkpoints of fairseq where one of ours can stand: fairseq's commands go on with fairseq's
// files.
#include <algorithm>
#include <functional>

#include "evomoe/fairseq/torch_file.h"
#include "evomoe/fairseq/torch_file_writer.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using Dict = PickleValue::Dict;
using List = PickleValue::List;

PickleValue of(auto value) {
  PickleValue made;
  made.value = std::move(value);
  return made;
}

Dict& dict_at(PickleValue& value, const std::vector<std::string>& path) {
  auto* here = &value;
  for (const auto& key : path) here = const_cast<PickleValue*>(here->find(key));
  return std::get<Dict>(here->value);
}

/// The entries of every dict in the order of their keys' texts.
void sort_entries(PickleValue& value) {
  if (auto* items = std::get_if<List>(&value.value)) {
    for (auto& item : *items) sort_entries(item);
  }
  auto* entries = std::get_if<Dict>(&value.value);
  if (entries == nullptr) return;
  const auto text = [&](size_t i) {
    const auto* number = entries->keys[i].get_if<int64_t>();
    return number != nullptr ? std::to_string(*number) : *entries->keys[i].get_if<std::string>();
  };
  std::vector<size_t> order(entries->keys.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return text(a) < text(b); });
  Dict sorted;
  for (const auto i : order) {
    sorted.keys.push_back(entries->keys[i]);
    sorted.values.push_back(entries->values[i]);
    sort_entries(sorted.values.back());
  }
  *entries = std::move(sorted);
}

/// One state of all parameters, as --fp16 stores it, with moments scaled as by --fp16-adam-stats.
void flatten(PickleValue& root, double scale) {
  auto& states = dict_at(root, {"last_optimizer_state", "state"});
  Dict flat;
  for (const std::string moment : {"exp_avg", "exp_avg_sq"}) {
    std::vector<torch::Tensor> all;
    for (const auto& state : states.values)
      all.push_back(state.find(moment)->get_if<torch::Tensor>()->flatten());
    flat.keys.push_back(of(moment));
    flat.values.push_back(of(torch::cat(all) / scale));
    flat.keys.push_back(of(moment + "_scale"));
    flat.values.push_back(of(scale));
  }
  flat.keys.push_back(of(std::string("step")));
  flat.values.push_back(*states.values.front().find("step"));
  states = {{of(int64_t{0})}, {of(std::move(flat))}};
  auto& groups = dict_at(root, {"last_optimizer_state"});
  for (size_t i = 0; i < groups.keys.size(); ++i) {
    if (*groups.keys[i].get_if<std::string>() != "param_groups") continue;
    auto& group = std::get<Dict>(std::get<List>(groups.values[i].value).front().value);
    for (size_t j = 0; j < group.keys.size(); ++j) {
      if (*group.keys[j].get_if<std::string>() == "params")
        group.values[j] = of(List{of(int64_t{0})});
    }
  }
  groups.keys.push_back(of(std::string("loss_scale")));
  groups.values.push_back(of(128.0));
}

class TheirCheckpoints : public Commands {
 protected:
  static std::string experts() {
    return "--moe-freq 2 --moe-expert-count 4 --moe-top1-expert --dropout 0.1 "
           "--moe-eval-capacity-token-fraction -1 ";
  }

  /// Trains `run` for 9 updates and writes its last checkpoint as theirs: FOLDER/run.pt.
  std::string make(const std::string& run, const std::string& options) {
    EXPECT_EQ(evomoe(train_arguments(run) + options + "--max-update 9").exit_code, 0);
    const auto path = folder_ / (run + ".pt");
    const auto result =
        evomoe(fmt::format("convert {} --to fairseq --output {}",
                           (folder_ / (run + "/checkpoint_last")).string(), path.string()));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return path.string();
  }
};

TEST_F(TheirCheckpoints, ARunGoesOnFromThemAsFromOurs) {
  for (const auto& options : {std::string("--dropout 0.1 "), experts()}) {
    SCOPED_TRACE(options);
    ASSERT_EQ(evomoe(train_arguments("whole") + options).exit_code, 0);
    const auto path = make("part", options);
    const auto result = evomoe(train_arguments("other") + options + "--restore-file " + path);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("9 updates"));
    EXPECT_THAT(result.err, HasSubstr("other than in that run: --max-update 9 -> 24\n"))
        << "theirs says every value, which is no other for that";
    EXPECT_EQ(model_file("other"), model_file("whole"));
    EXPECT_EQ(optimizer_file("other"), optimizer_file("whole"));
    for (const auto* made : {"whole", "part", "part.pt", "other"})
      std::filesystem::remove_all(folder_ / made);
  }
}

TEST_F(TheirCheckpoints, TheOrderOfTheirEntriesMeansNothing) {
  for (const auto* half : {"a", "b"}) {
    for (const std::string split : {"train", "valid"})
      std::filesystem::copy_file(folder_ / (split + ".txt"), folder_ / (split + "." + half));
  }
  const auto pair = (folder_ / "pair").string();
  ASSERT_EQ(evomoe(fmt::format("preprocess -s a -t b --joined-dictionary --trainpref {0}/train "
                               "--validpref {0}/valid --destdir {1}",
                               folder_.path().string(), pair))
                .exit_code,
            0);
  const std::string small =
      "--encoder-layers 2 --encoder-embed-dim 16 --encoder-ffn-embed-dim 32 "
      "--encoder-attention-heads 2 ";
  const std::string decoder =
      "--decoder-layers 2 --decoder-embed-dim 16 --decoder-ffn-embed-dim "
      "32 --decoder-attention-heads 2 ";
  const auto lm = folder_.path().string() + "/bin --arch transformer_lm_gpt2_tiny " + decoder +
                  "--tokens-per-sample 16 ";
  const auto masked = folder_.path().string() +
                      "/bin --task masked_lm --criterion masked_lm --arch roberta_base "
                      "--tokens-per-sample 16 " +
                      small;
  const auto translation = pair + " --task translation --arch transformer " + small + decoder;
  const std::vector<std::string> models = {
      lm + "--share-decoder-input-output-embed",
      lm + "--decoder-learned-pos --layernorm-embedding",
      lm + "--adaptive-input --adaptive-input-cutoff 8,16 --adaptive-softmax-cutoff 8,16 "
           "--criterion adaptive_loss --adaptive-input-factor 2 --adaptive-softmax-factor 2",
      lm + "--adaptive-input --adaptive-input-cutoff 8,16 --adaptive-softmax-cutoff 8,16 "
           "--criterion adaptive_loss --adaptive-input-factor 2 --adaptive-softmax-factor 2 "
           "--tie-adaptive-weights --tie-adaptive-proj",
      lm + experts(),
      masked,
      masked + "--untie-weights-roberta",
      translation + "--share-all-embeddings",
      translation + "--share-decoder-input-output-embed",
      translation};
  for (const auto& model : models) {
    SCOPED_TRACE(model);
    const auto train = [&](const std::string& run, int updates, const std::string& from) {
      const auto result = evomoe(fmt::format(
          "train {} --save-dir {} --batch-size 4 --lr 0.003 --max-update {} --log-format none "
          "--threads 1 --disable-validation {}",
          model, (folder_ / run).string(), updates, from));
      EXPECT_EQ(result.exit_code, 0) << result.err;
    };
    train("whole", 6, "");
    train("part", 4, "");
    const auto exported =
        evomoe(fmt::format("convert {0}/part/checkpoint_last --to fairseq --output {0}/theirs/x.pt",
                           folder_.path().string()));
    ASSERT_EQ(exported.exit_code, 0) << exported.err;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "theirs")) {
      auto root = read_torch_file(entry.path());
      if (model.find("--tie-adaptive-weights") != model.npos) {
        for (const std::string tied : {"head.word_proj", "tail.0.0", "tail.0.2", "tail.1.2"}) {
          const auto name = "decoder.adaptive_softmax." + tied + ".weight";
          EXPECT_NE(root.find("model")->find(name), nullptr) << name << ", which fairseq needs";
        }
      }
      sort_entries(root);
      write_torch_file(entry.path(), root);
    }
    train("other", 6, "--restore-file " + (folder_ / "theirs/x.pt").string());
    EXPECT_TRUE(model_file("other") == model_file("whole"));
    EXPECT_TRUE(optimizer_file("other") == optimizer_file("whole"));
    for (const auto* made : {"whole", "part", "theirs", "other"})
      std::filesystem::remove_all(folder_ / made);
  }
}

TEST_F(TheirCheckpoints, OneScaledStateOfAllParametersGoesOnAsTheirOwn) {
  ASSERT_EQ(evomoe(train_arguments("whole")).exit_code, 0);
  const auto path = make("part", "");
  auto root = read_torch_file(path);
  flatten(root, 0.25);  // a power of two: nothing is rounded
  write_torch_file(path, root);
  ASSERT_EQ(evomoe(train_arguments("other") + "--restore-file " + path).exit_code, 0);
  EXPECT_TRUE(model_file("other") == model_file("whole"));
  EXPECT_TRUE(optimizer_file("other") == optimizer_file("whole"));
  const auto made = evomoe(fmt::format("convert {} --output {} --data {}", path,
                                       (folder_ / "made").string(), (folder_ / "bin").string()));
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_TRUE(optimizer_file("made") == optimizer_file("part"));
}

TEST_F(TheirCheckpoints, AnotherOptimizersStateIsNamedAndItsWeightsAreTakenAsTheMessageSays) {
  const auto path = make("part", "");
  auto root = read_torch_file(path);
  auto& optimizer = dict_at(root, {"cfg", "optimizer"});
  for (size_t i = 0; i < optimizer.keys.size(); ++i) {
    if (*optimizer.keys[i].get_if<std::string>() == "_name")
      optimizer.values[i] = of(std::string("nag"));
  }
  for (auto& state : dict_at(root, {"last_optimizer_state", "state"}).values) {
    const auto* moment = state.find("exp_avg");
    state = of(Dict{{of(std::string("momentum_buffer"))}, {*moment}});
  }
  write_torch_file(path, root);
  expect_refused(fmt::format("convert {} --output {} --data {}", path, (folder_ / "made").string(),
                             (folder_ / "bin").string()),
                 {"part.pt", "--optimizer nag", "--finetune-from-model", "--reset-optimizer"}, 1);
  expect_refused(train_arguments("other") + "--restore-file " + path, {"--optimizer nag"}, 1);
  for (const auto& remedy :
       {"--finetune-from-model " + path, "--reset-optimizer --restore-file " + path}) {
    const auto result = evomoe(train_arguments("again") + remedy);
    EXPECT_EQ(result.exit_code, 0) << remedy << result.err;
    std::filesystem::remove_all(folder_ / "again");
  }
}

TEST_F(TheirCheckpoints, AFolderOfTheirRunsIsGoneOnWithAndOursComesFirstThen) {
  ASSERT_EQ(evomoe(train_arguments("whole") + experts()).exit_code, 0);
  make("part", experts());
  std::filesystem::create_directory(folder_ / "theirs");
  for (const auto* part : {"-shared.pt", "-rank-0.pt"}) {
    std::filesystem::rename(folder_ / (std::string("part") + part),
                            folder_ / (std::string("theirs/checkpoint_last") + part));
  }
  ASSERT_EQ(evomoe(train_arguments("theirs") + experts() + "--max-update 15").exit_code, 0);
  const auto result = evomoe(train_arguments("theirs") + experts());
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("15 updates"));
  EXPECT_EQ(model_file("theirs"), model_file("whole"));
}

TEST_F(TheirCheckpoints, InfoTellsOfThemWhatItTellsOfOurs) {
  for (const auto& options : {std::string(), experts()}) {
    SCOPED_TRACE(options);
    const auto path = make("part", options);
    const auto info = [&](const std::string& checkpoint) {
      const auto result = evomoe("info --log-format json " + checkpoint);
      EXPECT_EQ(result.exit_code, 0) << result.err;
      return nlohmann::json::parse(result.out);
    };
    const auto ours = info((folder_ / "part/checkpoint_last").string());
    // Without its data, of which nothing is told.
    std::filesystem::rename(folder_ / "bin", folder_ / "elsewhere");
    const auto theirs = info(path);
    const auto text = evomoe("info " + path);
    std::filesystem::rename(folder_ / "elsewhere", folder_ / "bin");
    for (const auto* key : {"updates", "parameters", "evolution"})
      EXPECT_EQ(theirs.at(key), ours.at(key)) << key;
    EXPECT_THAT(text.out, HasSubstr("vocabulary"));
    for (const auto* made : {"part", "part.pt"}) std::filesystem::remove_all(folder_ / made);
  }
}

TEST_F(TheirCheckpoints, EvaluationReadsThem) {
  const auto path = make("part", experts());
  const auto data = " " + (folder_ / "bin").string() + " ";
  for (const std::string command :
       {"eval-lm --gen-subset valid", "validate --valid-subset valid"}) {
    const auto line = [&](const std::string& checkpoint) {
      const auto result = evomoe(command + data + "--threads 1 --path " + checkpoint);
      EXPECT_EQ(result.exit_code, 0) << result.err;
      // Neither the time nor the speed.
      const auto begin = std::min(result.out.find("valid"), result.out.size());
      return result.out.substr(begin, result.out.find("wps") - begin);
    };
    const auto ours = line((folder_ / "part/checkpoint_last").string());
    EXPECT_FALSE(ours.empty());
    EXPECT_EQ(line(path), ours) << command;
  }
}

TEST_F(TheirCheckpoints, WithAllResetsOnlyTheWeightsAreTaken) {
  const auto path = make("part", "");
  ASSERT_EQ(evomoe(train_arguments("a") + experts() + "--finetune-from-model " + path).exit_code,
            0);
  ASSERT_EQ(evomoe(train_arguments("b") + experts() + "--restore-file " + path +
                   " --reset-optimizer --reset-dataloader --reset-meters")
                .exit_code,
            0);
  EXPECT_EQ(model_file("a"), model_file("b"));
}

TEST_F(TheirCheckpoints, ConvertKeepsWhatTheRunSavesAndWhichIsItsBest) {
  const std::string best =
      "--best-checkpoint-metric ppl --maximize-best-checkpoint-metric --keep-interval-updates 3 "
      "--symlink --patience 50 ";
  const auto path = make("part", best);
  ASSERT_EQ(evomoe(fmt::format("convert {} --output {} --data {}", path,
                               (folder_ / "made").string(), (folder_ / "bin").string()))
                .exit_code,
            0);
  const auto config = testing::read_text(folder_ / "made/config.yaml");
  EXPECT_THAT(config, HasSubstr("best_checkpoint_metric: \"ppl\""));
  EXPECT_THAT(config, HasSubstr("maximize_best_checkpoint_metric: true"));
  EXPECT_THAT(config, HasSubstr("keep_interval_updates: 3"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "made/checkpoint_best")) << "nobody knows";
  const auto best_of = [&](const std::string& run) {
    const auto manifest = testing::read_text(folder_ / (run + "/checkpoint_last/manifest.json"));
    return nlohmann::json::parse(manifest).at("sections").at("checkpoint").at("best");
  };
  EXPECT_EQ(best_of("made"), best_of("part"));
}

TEST_F(TheirCheckpoints, ADamagedOneOfOursIsNotPassedOverForTheirs) {
  ASSERT_EQ(evomoe(train_arguments("run") + "--max-update 9").exit_code, 0);
  ASSERT_EQ(evomoe(fmt::format("convert {0}/checkpoint_last --to fairseq --output "
                               "{0}/checkpoint_last.pt",
                               (folder_ / "run").string()))
                .exit_code,
            0);
  std::filesystem::remove(folder_ / "run/checkpoint_last/manifest.json");
  expect_refused(train_arguments("run"), {"checkpoint_last"}, 1);
  std::filesystem::remove_all(folder_ / "run/checkpoint_last");
  EXPECT_EQ(evomoe(train_arguments("run")).exit_code, 0) << "theirs is the only one";
}

TEST_F(TheirCheckpoints, ANameMayBeOneInTheCurrentFolderButNotTheDefaultOne) {
  make("part", "");
  std::filesystem::copy(folder_ / "part.pt", folder_ / "checkpoint_last.pt");
  const auto here = [&](const std::string& arguments) {
    return testing::run_command("cd " + folder_.path().string() + " && " +
                                testing::program().string() + " " + arguments);
  };
  const auto named = here(train_arguments("named") + "--restore-file part.pt");
  EXPECT_THAT(named.err, HasSubstr("goes on from"));
  const auto anew = here(train_arguments("anew"));
  EXPECT_EQ(anew.exit_code, 0) << anew.err;
  EXPECT_THAT(anew.err, ::testing::Not(HasSubstr("goes on from")));
}

TEST_F(TheirCheckpoints, SeveralOfOneNameAreRefused) {
  make("part", "");
  std::filesystem::copy(folder_ / "part.pt", folder_ / "part-shared.pt");
  expect_refused(train_arguments("other") + "--restore-file " + (folder_ / "part.pt").string(),
                 {"part.pt", "part-shared.pt", "move"}, 1);
}

TEST_F(TheirCheckpoints, WhatDoesNotFitIsRefused) {
  const auto path = make("part", experts());
  expect_refused(train_arguments("other") + "--restore-file " + path,
                 {"part.pt", "--moe-freq 2 -> 0"}, 1);
  expect_refused(train_arguments("other") + experts() + "--batch-size 2 --restore-file " + path,
                 {"--batch-size 4 -> 2", "--reset-dataloader"}, 1);
  expect_refused(train_arguments("other") + "--restore-file nowhere.pt",
                 {"nowhere.pt", "current folder"}, 1);
  std::filesystem::remove(folder_ / "part-rank-0.pt");
  expect_refused("eval-lm " + (folder_ / "bin").string() + " --path " + path, {"part-rank-0.pt"},
                 1);
}

}  // namespace
}  // namespace evomoe
