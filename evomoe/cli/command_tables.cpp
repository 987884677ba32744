#include "evomoe/cli/command_tables.h"

#include "evomoe/cli/command_list.h"
#include "evomoe/cli/compare.h"
#include "evomoe/cli/convert.h"
#include "evomoe/cli/info.h"
#include "evomoe/cli/options.h"
#include "evomoe/cli/plan.h"
#include "evomoe/cli/plot.h"
#include "evomoe/cli/report.h"
#include "evomoe/config/describe.h"
#include "evomoe/corpus/bpe_command_options.h"
#include "evomoe/data/preprocess_options.h"
#include "evomoe/generate/evaluation_options.h"
#include "evomoe/generate/generate_options.h"
#include "evomoe/score/score_options.h"
#include "evomoe/train/options.h"

namespace evomoe {

std::vector<std::shared_ptr<const OptionTable>> command_tables() {
  std::vector<std::shared_ptr<const OptionTable>> tables;
  const auto add = [&](const std::string& name, auto options) {
    using Options = decltype(options);
    tables.push_back(
        make_table<Options>(name, command_summary(name),
                            [](OptionTable& table, Options& each) { each.describe(table); }));
  };
  add("bpe", BpeCommandOptions{});
  add("preprocess", PreprocessOptions{});
  add("train", TrainOptions{});
  add("validate", ValidateOptions{});
  add("eval-lm", EvalLmOptions{});
  add("generate", GenerateOptions{});
  add("interactive", InteractiveOptions{});
  add("score", ScoreOptions{});
  add("convert", ConvertOptions{});
  add("info", InfoOptions{});
  add("compare", CompareOptions{});
  add("plan", PlanOptions{});
  add("report", ReportOptions{});
  add("plot", PlotOptions{});
  add("options", OptionsFlags{});
  return tables;
}

}  // namespace evomoe
