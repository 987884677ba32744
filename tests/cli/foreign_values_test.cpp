// Checkpoints of fairseq with what Python and fairseq store and we do not have: values of other
// classes, other optimizers. torch writes them where it is installed.
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ForeignValues : public Commands {
 protected:
  void SetUp() override {
    static const bool has_torch =
        testing::run_command(testing::python().string() + " -c 'import torch'").exit_code == 0;
    if (!has_torch) {
      GTEST_SKIP() << "no torch in " << testing::python()
                   << "; EVOMOE_PYTHON names a Python that has it";
    }
    Commands::SetUp();
    ASSERT_EQ(evomoe(train_arguments("part") + "--max-update 9").exit_code, 0);
    ASSERT_EQ(evomoe("convert --to fairseq " + (folder_ / "part/checkpoint_last").string() +
                     " --output " + file("plain"))
                  .exit_code,
              0);
  }

  std::string file(const std::string& name) const { return (folder_ / (name + ".pt")).string(); }
  std::string data() const { return " " + (folder_ / "bin").string() + " "; }

  /// Writes file(name) of each (name, lines): the checkpoint `d` after these lines of Python. One
  /// Python makes them all, as it takes seconds to load torch.
  void change(const std::vector<std::pair<std::string, std::string>>& variants) {
    std::string script = "import collections, datetime, decimal, enum, fractions, pathlib, torch\n";
    for (const auto& [name, lines] : variants) {
      script += fmt::format("d = torch.load('{}', weights_only=True)\n{}\ntorch.save(d, '{}')\n",
                            file("plain"), lines, file(name));
    }
    testing::write_text(folder_ / "change.py", script);
    const auto result = testing::run_command(testing::python().string() + " -W ignore " +
                                             (folder_ / "change.py").string());
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  std::string changed(const std::string& name, const std::string& lines) {
    change({{name, lines}});
    return file(name);
  }

  void expect_works(const std::string& arguments) {
    const auto result = evomoe(arguments);
    EXPECT_EQ(result.exit_code, 0) << arguments << "\n" << result.err;
  }

  std::string convert(const std::string& path, const std::string& run) const {
    return fmt::format("convert {} --output {}{}--data{}", path, (folder_ / run).string(), " ",
                       data());
  }
};

TEST_F(ForeignValues, OutsideOfWhatIsNeededNoCommandMinds) {
  const auto path = changed("inert", R"(
inert = [collections.Counter('aab'), collections.deque([1]), b'bytes', 2**70, 1j, {1, 2}, slice(1),
         pathlib.PosixPath('/x'), datetime.datetime.now(), decimal.Decimal(1), torch.device('cpu'),
         torch.float16, fractions.Fraction(1, 2), torch.eye(2).to_sparse(), range(3)]
d['extra_state']['metrics'] = {'valid': [('bleu', 0, inert, inert)]}
d['extra_state']['ema'] = inert
d['task_state'] = d['criterion'] = d['more'] = inert
d['optimizer_history'][-1]['lr_scheduler_state'] = {'best': inert}
d['cfg']['task']['data'] = pathlib.PosixPath('/gone')
d['cfg']['checkpoint']['save_dir'] = pathlib.PosixPath('/gone')
d['cfg']['generation'] = d['cfg']['bpe'] = inert
d['cfg']['model']['more'] = inert
)");
  for (const auto& given : {path, file("plain")}) {
    expect_works("info " + given);
    expect_works("eval-lm --gen-subset valid --threads 1" + data() + "--path " + given);
    expect_works("generate" + data() + "--prompt the --threads 1 --path " + given);
    expect_works(convert(given, "made" + given.substr(given.size() - 6)));
    expect_works(train_arguments("fine" + given.substr(given.size() - 6)) + "--max-update 2 " +
                 "--finetune-from-model " + given);
    expect_works(train_arguments("on" + given.substr(given.size() - 6)) + "--max-update 11 " +
                 "--restore-file " + given);
  }
  for (const std::string run : {"fine", "on"})
    EXPECT_TRUE(model_file(run + "ert.pt") == model_file(run + "ain.pt")) << run;
}

TEST_F(ForeignValues, WhereTheyAreNeededTheErrorNamesPlaceAndClass) {
  const auto eval = "eval-lm --gen-subset valid --threads 1" + data() + "--path ";
  const auto resume = train_arguments("other") + "--restore-file ";
  const std::string moment =
      "d['last_optimizer_state']['state'][1]['exp_avg'] = torch.ones(2, dtype=torch.complex64)";
  struct Case {
    std::string lines;
    std::vector<std::string> words;
    std::string command;
  };
  const std::vector<Case> cases = {
      {"d['cfg']['model']['decoder_layers'] = fractions.Fraction(2)",
       {"'cfg.model.decoder_layers'", "fractions.Fraction"},
       eval},
      {"d['cfg'] = decimal.Decimal(2)", {"'cfg'", "decimal.Decimal"}, eval},
      {"d['cfg']['model'] = pathlib.PosixPath('x')", {"'cfg.model'", "pathlib.PosixPath"}, eval},
      {"d['model']['decoder.layers.0.fc1.weight'] = torch.eye(2).to_sparse()",
       {"'model.decoder.layers.0.fc1.weight'", "_rebuild_sparse_tensor"},
       eval},
      {"d['model'] = collections.Counter()", {"'model'", "collections.Counter"}, eval},
      {"d['optimizer_history'][-1]['num_updates'] = 2**64",
       {"'optimizer_history.0.num_updates'", "an integer of more than 64 bits"},
       eval},
      {"d['extra_state']['train_iterator']['epoch'] = decimal.Decimal(1)",
       {"'extra_state.train_iterator.epoch'", "decimal.Decimal"},
       resume},
      {moment, {"'last_optimizer_state.state.1.exp_avg'", "torch.ComplexFloatStorage"}, resume}};
  std::vector<std::pair<std::string, std::string>> variants = {{"moment", moment}};
  for (size_t i = 0; i < cases.size(); ++i)
    variants.emplace_back(fmt::format("needed{}", i), cases[i].lines);
  change(variants);
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto command = cases[i].command + file(fmt::format("needed{}", i));
    expect_refused(command, cases[i].words, 1);
    EXPECT_THAT(evomoe(command).err, Not(HasSubstr("damaged")));
  }
  expect_works(eval + file("moment"));
}

TEST_F(ForeignValues, ExpandedWeightsAreRead) {
  const auto path = changed("expanded", R"(
for k, v in d['model'].items():
    if v.dim() == 1: d['model'][k] = v[:1].expand(v.shape)
)");
  const auto same = changed("same", R"(
for k, v in d['model'].items():
    if v.dim() == 1: d['model'][k] = v[:1].repeat(v.shape[0])
)");
  for (const auto& [run, from] : {std::pair{"a", path}, std::pair{"b", same}})
    expect_works(train_arguments(run) + "--max-update 2 --finetune-from-model " + from);
  EXPECT_TRUE(model_file("a") == model_file("b"));
  expect_works(convert(path, "made"));
}

TEST_F(ForeignValues, AnotherOptimizerIsNamedWithRemediesThatWork) {
  const std::vector<std::string> names = {"nag", "sgd", "adamax", "adagrad", "adadelta", "lamb"};
  std::vector<std::pair<std::string, std::string>> variants;
  for (const auto& name : names) {
    variants.emplace_back(name, fmt::format(R"(
d['cfg']['optimizer'] = {{'_name': '{0}', 'momentum': 0.99, 'weight_decay': 0.0, 'lr': [0.25]}}
d['cfg']['lr_scheduler'] = {{'_name': 'triangular', 'lr': [0.25]}}
d['optimizer_history'][-1]['optimizer_name'] = 'Fairseq' + '{0}'.upper()
for s in d['last_optimizer_state']['state'].values():
    s['momentum_buffer'] = s.pop('exp_avg')
)",
                                            name));
  }
  change(variants);
  for (const auto& name : names) {
    SCOPED_TRACE(name);
    const auto path = file(name);
    for (const auto& command :
         {convert(path, "made"), train_arguments("a") + "--restore-file " + path}) {
      const auto refused = evomoe(command);
      EXPECT_EQ(refused.exit_code, 1) << refused.err;
      for (const auto& word :
           {"--optimizer " + name, std::string("--finetune-from-model"),
            std::string("--reset-optimizer"), std::string("--no-save-optimizer-state")})
        EXPECT_THAT(refused.err, HasSubstr(word));
    }
    const auto made = evomoe(convert(path, "made") + "--no-save-optimizer-state");
    ASSERT_EQ(made.exit_code, 0) << made.err;
    // As it says.
    const auto at = made.err.find("go on with: evomoe ");
    ASSERT_NE(at, std::string::npos) << made.err;
    auto command = made.err.substr(at + 19);
    expect_works(command.substr(0, command.find('\n')) + " --max-update 2 --threads 1 --lr 0.001");
    std::filesystem::remove_all(folder_ / "made");
    if (name != "nag") continue;
    expect_works(train_arguments("b") + "--max-update 2 --finetune-from-model " + path);
    expect_works(train_arguments("c") + "--max-update 2 --reset-optimizer --restore-file " + path);
    expect_works("eval-lm --gen-subset valid --threads 1" + data() + "--path " + path);
  }
}

TEST_F(ForeignValues, AnotherScheduleIsNamedWithTheRemedy) {
  const auto path = changed("schedule", "d['cfg']['lr_scheduler'] = {'_name': 'triangular'}");
  expect_refused(convert(path, "made"), {"triangular", "--no-save-optimizer-state"}, 1);
  expect_works(convert(path, "made") + "--no-save-optimizer-state");
}

TEST_F(ForeignValues, AScheduleOfThreeStagesIsTakenOver) {
  const std::string shape =
      "d['cfg']['lr_scheduler'] = {{'_name': 'tri_stage', 'warmup_steps': 2, 'hold_steps': 3, "
      "'decay_steps': 4, 'phase_ratio': {}, 'init_lr_scale': 0.01, 'final_lr_scale': 0.05, "
      "'max_update': 30, 'lr': [0.25]}}";
  for (const std::string ratio : {"None", "(0.1, 0.4, 0.5)"}) {
    SCOPED_TRACE(ratio);
    std::filesystem::remove_all(folder_ / "made");
    const auto path =
        changed(ratio == "None" ? "steps" : "shares", fmt::format(fmt::runtime(shape), ratio));
    expect_works(convert(path, "made"));
    const auto info =
        evomoe("info --log-format json " + (folder_ / "made/checkpoint_last").string());
    EXPECT_THAT(info.out, HasSubstr("\"lr_scheduler\": \"tri_stage\""));
    EXPECT_THAT(info.out, HasSubstr("\"hold_steps\": 3"));
    EXPECT_THAT(info.out, HasSubstr("\"final_lr_scale\": 0.05"));
  }
}

TEST_F(ForeignValues, AFileWithoutOptionsSaysWhichKindItIs) {
  expect_refused("info " + changed("old",
                                   "d['args'] = d['cfg']['model']; d['args']['arch'] = 'x'\n"
                                   "d['cfg'] = None"),
                 {"before fairseq 1.0"}, 1);
  expect_refused("info " + changed("bare", "d = {'model': d['model']}"),
                 {"neither `cfg` nor `args`", "--init-from"}, 1);
  expect_refused("info " + changed("state", "d = d['model']"), {"has no 'model'"}, 1);
}

}  // namespace
}  // namespace evomoe
