#include "evomoe/cli/compare.h"

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/base/log.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/compare/plan_result.h"
#include "evomoe/compare/plan_search.h"
#include "evomoe/report/comparison.h"
#include "evomoe/report/terminal_chart.h"

namespace evomoe {

void CompareOptions::describe(OptionTable& table) {
  table
      .positional("run", &run,
                  "Run folders; or one YAML file, a plan (docs/comparing.md), whose runs are made "
                  "first.")
      .metavar("RUN...")
      .required();
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
           "Form of the result; text also has a verdict, and curves if there is an evolution. csv "
           "is for plans, markdown for run folders.")
      .choices({"text", "markdown", "json", "csv"});
  table
      .add("jobs", &jobs, "Runs of a plan that are made at once, each with its share of the cores.")
      .at_least(1);
  table.add("search", &search,
            "Chooses the settings of a plan's methods first, among those of its 'search'.");
  table.example("evomoe compare runs/evomoe runs/switch runs/dense --baseline runs/switch",
                "three runs");
  table.example("evomoe compare plan.yaml --jobs 2", "makes the runs of a plan, and compares them");
  table.example("evomoe compare runs/*/ --group --baseline switch", "several seeds of each");
}

namespace {

bool is_plan(const std::vector<std::string>& run) {
  return run.size() == 1 && (run[0].ends_with(".yaml") || run[0].ends_with(".yml"));
}

/// Exit code 1 when a run has failed.
int compare_plan(const CompareOptions& flags) {
  if (!flags.baseline.empty() || flags.group)
    fail_usage("--baseline and --group are for run folders; a plan says its baseline itself");
  if (flags.format == "markdown")
    fail_usage("--format markdown is for run folders, not for a plan");
  const auto plan = read_compare_plan(flags.run.front());
  if (flags.search && plan.search.empty())
    fail_usage("--search: {} has no 'search' that says what to try", plan.file.string());
  if (!flags.search && !plan.search.empty()) {
    fail_usage(
        "{}: its methods have settings to choose from ('search'); add --search, or take it "
        "out to run them as they stand",
        plan.file.string());
  }
  auto searches = search_settings(plan, flags.jobs);
  std::map<std::string, size_t> chosen;
  for (const auto& search : searches) {
    if (search.chosen) chosen[search.method] = *search.chosen;
  }
  const auto outcomes = make_runs(plan, runs_of(plan, chosen), flags.jobs);
  const PlanResult result(plan, outcomes, std::move(searches));
  if (flags.format == "json") {
    fmt::print("{}\n", json_text(result.json(), 2));
  } else if (flags.format == "csv") {
    fmt::print("{}", result.csv());
  } else {
    if (flags.jobs > 1) log().info("times are of {} runs at once", flags.jobs);
    fmt::print("{}", result.text(locale_is_utf8()));
  }
  const bool all = chosen.size() == plan.search.size() &&
                   std::ranges::all_of(outcomes, [](const auto& of) { return of.failure.empty(); });
  return all ? 0 : 1;
}

}  // namespace

int compare_command(const std::vector<std::string>& arguments) {
  CompareOptions flags;
  if (!parse_command("compare", arguments, flags)) return 0;
  if (is_plan(flags.run)) return compare_plan(flags);
  if (flags.search) fail_usage("--search is for plans, not for run folders");
  if (flags.format == "csv") fail_usage("--format csv is for plans, not for run folders");
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
    fmt::print("{}\n", json_text(comparison.json(), 2));
  } else {
    fmt::print("{}", comparison.table(/*utf8=*/true).markdown());
  }
  return 0;
}

}  // namespace evomoe
