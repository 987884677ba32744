#include "evomoe/cli/compare.h"

#include "evomoe/base/log.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/report/comparison.h"
#include "evomoe/report/terminal_chart.h"

namespace evomoe {

void CompareOptions::describe(OptionTable& table) {
  table.positional("run", &run, "Run folders.").metavar("RUN...").required();
  table
      .add("baseline", &baseline,
           "Run whose final perplexity is the target: how long the others took to reach it. Its "
           "folder, or its name if only one run has that name; not given: the first.")
      .metavar("RUN");
  table.add("valid-subset", &valid_subset, "Split whose perplexity is compared.").metavar("NAME");
  table.add("group", &group,
            "Runs whose names differ only in the number after their last hyphen (dense-1, "
            "dense-2) are one row, with mean and standard deviation.");
  table
      .add("format", &format,
           "Form of the result; text also has a verdict, and curves if there is an evolution.")
      .choices({"text", "markdown", "json"});
  table.example("evomoe compare runs/evomoe runs/switch runs/dense --baseline runs/switch",
                "three runs");
  table.example("evomoe compare runs/*/ --group --baseline switch", "several seeds of each");
}

int compare_command(const std::vector<std::string>& arguments) {
  CompareOptions flags;
  if (!parse_command("compare", arguments, flags)) return 0;
  const Comparison comparison(read_run_histories(flags.run, "evomoe compare"), flags.valid_subset,
                              flags.group, flags.baseline);
  if (flags.format == "text") {
    const bool utf8 = locale_is_utf8();
    const auto pictures = comparison.pictures(utf8);
    fmt::print("{}\n{}{}{}", comparison.table(utf8).text(), pictures, pictures.empty() ? "" : "\n",
               comparison.verdict());
    return 0;
  }
  for (const auto& difference : comparison.differences())
    log().warn("the perplexities are not comparable: {}", difference);
  for (const auto& note : comparison.notes()) log().info("{}", note);
  if (flags.format == "json") {
    fmt::print("{}\n", comparison.json().dump(2));
  } else {
    fmt::print("{}", comparison.table(/*utf8=*/true).markdown());
  }
  return 0;
}

}  // namespace evomoe
