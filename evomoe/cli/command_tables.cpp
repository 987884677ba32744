#include "evomoe/cli/command_tables.h"

#include "evomoe/config/describe.h"
#include "evomoe/generate/evaluation_options.h"
#include "evomoe/train/options.h"

namespace evomoe {

std::vector<std::shared_ptr<const OptionTable>> command_tables() {
  std::vector<std::shared_ptr<const OptionTable>> tables;
  const auto add = [&](const std::string& name, auto options, auto describe_into) {
    tables.push_back(make_table<decltype(options)>(name, command_summary(name), describe_into));
  };
  const auto plain = [](OptionTable& table, auto& options) { describe(table, options); };
  add("bpe", BpeFlags{}, plain);
  add("preprocess", PreprocessFlags{}, plain);
  add("train", TrainOptions{}, plain);
  add("validate", EvalOptions{}, describe_validate);
  add("eval-lm", EvalOptions{}, describe_eval_lm);
  add("generate", GenerateOptions{}, plain);
  add("interactive", InteractiveOptions{}, plain);
  add("score", ScoreOptions{}, plain);
  add("convert", ConvertOptions{}, plain);
  add("info", InfoOptions{}, plain);
  add("compare", CompareOptions{}, plain);
  add("plot", PlotOptions{}, plain);
  add("options", OptionsFlags{}, plain);
  return tables;
}

}  // namespace evomoe
