#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "evomoe/fairseq/fairseq_names.h"
#include "tests/fairseq/fairseq_set_fixture.h"

namespace evomoe::fairseq_sets {
namespace {

/// Puts an entry in a dict.
void put(PickleValue& value, const std::string& key, PickleValue entry) {
  dict(value).keys.push_back(of(key));
  dict(value).values.push_back(std::move(entry));
}

PickleValue& optimizer_of(PickleValue& root) { return at(root, {"last_optimizer_state"}); }
PickleValue& group_of(PickleValue& root) {
  return list(at(root, {"last_optimizer_state", "param_groups"})).at(0);
}
/// The states in the order of their positions, as make.py writes them.
std::vector<PickleValue>& states_of(PickleValue& root) {
  return dict(at(root, {"last_optimizer_state", "state"})).values;
}

torch::Tensor tensor(const PickleValue& value) { return *value.get_if<torch::Tensor>(); }

/// As --fp16 stores it: one state of all parameters.
void flatten(PickleValue& root) {
  Dict flat;
  flat.keys = {of(std::string("step"))};
  flat.values = {at(states_of(root).at(0), {"step"})};
  PickleValue state = of(std::move(flat));
  for (const std::string moment : {"exp_avg", "exp_avg_sq"}) {
    std::vector<torch::Tensor> all;
    for (auto& each : states_of(root)) all.push_back(tensor(at(each, {moment})).flatten());
    put(state, moment, of(torch::cat(all)));
  }
  at(root, {"last_optimizer_state", "state"}) = of(Dict{{of(int64_t{0})}, {std::move(state)}});
  at(group_of(root), {"params"}) = of(List{of(int64_t{0})});
  put(optimizer_of(root), "loss_scale", of(128.0));
}

/// The entries of every dict in the opposite order.
void reverse(PickleValue& value) {
  if (auto* entries = std::get_if<Dict>(&value.value)) {
    std::reverse(entries->keys.begin(), entries->keys.end());
    std::reverse(entries->values.begin(), entries->values.end());
    for (auto& entry : entries->values) reverse(entry);
  } else if (auto* items = std::get_if<List>(&value.value)) {
    for (auto& item : *items) reverse(item);
  }
}

using FairseqOptimizers = FairseqSet;

TEST_F(FairseqOptimizers, NamesHaveTheOrderOfTheReferencesParameters) {
  std::mt19937 random(1);
  for (const std::string run : {"gpt_dense", "gpt_switch", "mt_dts", "roberta_switch"}) {
    std::vector<std::string> names;
    const auto flags = testing::read_json(testing::golden_training_dir() / run / "flags.json");
    for (const auto& parameter : flags.at("parameters"))
      names.push_back(parameter.at(0).get<std::string>());
    ASSERT_GT(names.size(), 30U);
    auto shuffled = names;
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    EXPECT_EQ(in_parameter_order(shuffled), names) << run;
  }
}

TEST_F(FairseqOptimizers, TheOrderOfTheEntriesOfEveryDictMeansNothing) {
  for (const std::string set :
       {"dense_w2/whole", "dense_w2/default", "dense_w2/sharded", "moe_w2_e4/whole",
        "moe_w2_e4/default", "moe_w2_e4/sharded", "moe_w4_e2/replicas"}) {
    SCOPED_TRACE(set);
    testing::TemporaryFolder reversed;
    for (const auto& entry : fs::directory_iterator(golden(set))) {
      auto root = read_torch_file(entry.path());
      reverse(root);
      write_torch_file(reversed / entry.path().filename().string(), root);
    }
    expect_equal(read_fairseq_checkpoint(reversed / "x"),
                 read_fairseq_checkpoint(golden(set) / "x"));
  }
}

TEST_F(FairseqOptimizers, TheGroupTellsWhichStateIsOfWhichParameter) {
  copy("dense_w2/whole");
  change("x.pt", [](PickleValue& root) {
    // Parameters 3 and 5, two weights of one shape, exchange their keys.
    auto& keys = list(at(group_of(root), {"params"}));
    std::swap(keys.at(3), keys.at(5));
    std::swap(states_of(root).at(3), states_of(root).at(5));
  });
  expect_equal(read_fairseq_checkpoint(file("x")),
               read_fairseq_checkpoint(golden("dense_w2/whole") / "x"));
}

TEST_F(FairseqOptimizers, AFlatStateIsCutInTheOrderOfTheParameters) {
  copy("dense_w2/whole");
  change("x.pt", flatten);
  expect_equal(read_fairseq_checkpoint(file("x")),
               read_fairseq_checkpoint(golden("dense_w2/whole") / "x"));
}

TEST_F(FairseqOptimizers, AFlatStateOfAnotherSizeIsAnErrorThatTellsWhatWasExpected) {
  const std::vector<std::function<torch::Tensor(const torch::Tensor&)>> edits = {
      [](const torch::Tensor& x) {
        return torch::cat({x, torch::zeros({3})});
      },
      [](const torch::Tensor& x) { return x.slice(0, 1); },
      [](const torch::Tensor& x) { return x.unsqueeze(0); }};
  for (const std::string moment : {"exp_avg", "exp_avg_sq"}) {
    for (const auto& edit : edits) {
      copy("dense_w2/whole");
      int64_t size = 0;
      change("x.pt", [&](PickleValue& root) {
        flatten(root);
        auto& stored = at(states_of(root).at(0), {moment});
        size = tensor(stored).numel();
        stored = of(edit(tensor(stored)).contiguous());
      });
      expect_error({"x.pt: the optimizer's one state of all parameters has",
                    fmt::format("expected {} in a row", size), "--reset-optimizer"});
    }
  }
}

TEST_F(FairseqOptimizers, EachProcessHasItsOwnScalesOfMoments) {
  for (const std::string set : {"dense_w2/sharded", "moe_w2_e4/default", "moe_w4_e2/replicas"}) {
    SCOPED_TRACE(set);
    testing::TemporaryFolder scaled;
    int file = 0;
    for (const auto& entry : fs::directory_iterator(golden(set))) {
      auto root = read_torch_file(entry.path());
      for (auto& state : states_of(root)) {
        // Powers of two, so that nothing is rounded.
        const double scale = std::ldexp(1.0, -1 - file++ % 5);
        for (const std::string moment : {"exp_avg", "exp_avg_sq"}) {
          at(state, {moment}) = of(tensor(at(state, {moment})) / scale);
          put(state, moment + "_scale", file % 2 == 0 ? of(scale) : of(torch::tensor(scale)));
        }
      }
      write_torch_file(scaled / entry.path().filename().string(), root);
    }
    expect_equal(read_fairseq_checkpoint(scaled / "x"), read_fairseq_checkpoint(golden(set) / "x"));
  }
}

TEST_F(FairseqOptimizers, BeforeTheFirstUpdateEveryParameterHasNone) {
  for (const std::string set : {"dense_w2/whole", "dense_w2/sharded", "moe_w2_e4/whole"}) {
    SCOPED_TRACE(set);
    testing::TemporaryFolder fresh;
    for (const auto& entry : fs::directory_iterator(golden(set))) {
      auto root = read_torch_file(entry.path());
      at(root, {"last_optimizer_state", "state"}) = of(Dict{});
      write_torch_file(fresh / entry.path().filename().string(), root);
    }
    const auto read = read_fairseq_checkpoint(fresh / "x");
    EXPECT_EQ(read.optimizer.size(), read.model.size());
    for (const auto& [name, step] : read.optimizer) EXPECT_EQ(step.item<int64_t>(), 0) << name;
  }
}

TEST_F(FairseqOptimizers, WhatMayChangeTheMeaningOfTheMomentsIsAnErrorThatNamesIt) {
  const auto in_state = [](const std::string& key, PickleValue entry) {
    return [=](PickleValue& root) { put(states_of(root).at(2), key, entry); };
  };
  const auto in_group = [](const std::string& key, PickleValue entry) {
    return [=](PickleValue& root) {
      auto& entries = dict(group_of(root));
      const auto found = std::find_if(entries.keys.begin(), entries.keys.end(), [&](auto& have) {
        return *have.template get_if<std::string>() == key;
      });
      if (found == entries.keys.end()) {
        put(group_of(root), key, entry);
      } else {
        at(group_of(root), {key}) = entry;
      }
    };
  };
  const auto set_in_state = [](const std::string& key, PickleValue entry) {
    return [=](PickleValue& root) { at(states_of(root).at(2), {key}) = entry; };
  };
  const auto nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<std::pair<std::function<void(PickleValue&)>, std::vector<std::string>>> cases =
      {{in_state("max_exp_avg_sq", of(torch::zeros({2}))), {"parameter 2", "'max_exp_avg_sq'"}},
       {in_state("momentum_buffer", of(torch::zeros({2}))), {"parameter 2", "'momentum_buffer'"}},
       {in_state("exp_avg_scale", of(0.0)), {"'exp_avg_scale' of parameter 2 is 0"}},
       {in_state("exp_avg_scale", of(-1.0)), {"'exp_avg_scale' of parameter 2 is -1"}},
       {in_state("exp_avg_sq_scale", of(nan)), {"'exp_avg_sq_scale' of parameter 2 is nan"}},
       {in_state("exp_avg_sq_scale", of(torch::ones({2}))),
        {"'exp_avg_sq_scale' of parameter 2 is no number"}},
       {set_in_state("exp_avg", of(torch::zeros({8, 8}, torch::kUInt8))),
        {"'exp_avg' of parameter 2 is of type Byte"}},
       {set_in_state("exp_avg", of(torch::zeros({3}))),
        {"k_proj.bias' (parameter 2) has shape [3], expected that of the parameter, [8]"}},
       {set_in_state("step", of(std::string("two"))), {"the 'step' of parameter 2"}},
       {[](PickleValue& root) {
          auto& entries = dict(states_of(root).at(2));
          for (size_t i = 0; i < entries.keys.size(); ++i) {
            if (*entries.keys[i].get_if<std::string>() != "exp_avg") continue;
            entries.keys.erase(entries.keys.begin() + static_cast<std::ptrdiff_t>(i));
            entries.values.erase(entries.values.begin() + static_cast<std::ptrdiff_t>(i));
          }
        },
        {"parameter 2 has no 'exp_avg'"}},
       {in_group("lr_scale", of(0.5)), {"group of parameters has an entry 'lr_scale'"}},
       {in_group("amsgrad", of(true)), {"'amsgrad' is set"}},
       {in_group("maximize", of(true)), {"'maximize' is set"}},
       {in_group("max_grad_norm", of(1.0)), {"'max_grad_norm' is set"}},
       {in_group("bias_correction", of(false)), {"'bias_correction' is off"}},
       {[&](PickleValue& root) {
          in_group("weight_decay", of(0.1))(root);
          in_group("decoupled_weight_decay", of(false))(root);
        },
        {"'decoupled_weight_decay' is off"}},
       {[](PickleValue& root) {
          auto& groups = list(at(root, {"last_optimizer_state", "param_groups"}));
          groups.push_back(groups.front());
        },
        {"has 2 groups of parameters"}},
       {[](PickleValue& root) { list(at(group_of(root), {"params"})).pop_back(); },
        {"the optimizer has a parameter"}},
       {[](PickleValue& root) {
          list(at(group_of(root), {"params"})).push_back(of(int64_t{1'000}));
        },
        {"expected", "one for each parameter"}},
       {[](PickleValue& root) { put(optimizer_of(root), "partition", of(List{})); },
        {"the optimizer's state has an entry 'partition'"}},
       {[](PickleValue& root) {
          at(root, {"cfg", "optimizer", "_name"}) = of(std::string("nag"));
        },
        {"--optimizer nag"}}};
  for (const auto& [edit, words] : cases) {
    copy("dense_w2/whole");
    change("x.pt", edit);
    expect_error(words);
    if (words.front() != "the optimizer has a parameter") expect_error({"--finetune-from-model"});
    EXPECT_EQ(read_fairseq_checkpoint(file("x"), /*with_optimizer=*/false).updates, 2)
        << words.front();
  }
}

TEST_F(FairseqOptimizers, WhatOthersWriteAndChangesNothingIsRead) {
  copy("dense_w2/whole");
  change("x.pt", [](PickleValue& root) {
    auto& group = group_of(root);
    for (const std::string off : {"maximize", "capturable", "differentiable", "foreach"})
      put(group, off, of(false));
    put(group, "fused", {});
    put(group, "max_grad_norm", of(0.0));
    put(group, "bias_correction", of(true));
    put(group, "decoupled_weight_decay", of(true));
    put(group, "initial_lr", of(0.1));
  });
  expect_equal(read_fairseq_checkpoint(file("x")),
               read_fairseq_checkpoint(golden("dense_w2/whole") / "x"));
}

}  // namespace
}  // namespace evomoe::fairseq_sets
