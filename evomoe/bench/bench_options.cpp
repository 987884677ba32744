#include "evomoe/bench/bench_options.h"

#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include "evomoe/base/error.h"
#include "evomoe/base/nearest_name.h"

namespace evomoe::bench {

void describe(OptionTable& table, RunOptions& o) {
  table.group("run", "Running");
  table.add("suite", &o.suite, "Run a list of cases (--list names them) instead of one.")
      .metavar("NAME");
  table.add("list", &o.list, "Name the suites and their cases, and do nothing.");
  table
      .add(
          "threads", &o.threads,
          "Compute threads; 0: one a core, and in `step` fewer while other programs use the cores.")
      .at_least(0);
  table
      .add("peak-seconds", &o.peak_seconds,
           "Time spent on measuring the peak of matrix products, before each case; 0: one round.")
      .at_least(0);
  table.add("budget-s", &o.budget_s, "Stop repeating a case after about this many seconds.")
      .above(0);
  table.add("warmup", &o.warmup, "Repeats before those that are timed.").at_least(0);
  table.add("repeats", &o.repeats, "Timed repeats.").alias("steps").at_least(1);
}

void check_suite(const OptionTable& table) {
  if (!table.is_set("suite")) return;
  for (const auto& option : table.options()) {
    if (option->group() == kCaseGroup && option->is_set()) {
      fail_usage("{} does not go with --{}: the cases of a suite have sizes of their own",
                 table.written(table.at("suite")), option->name());
    }
  }
}

void use_threads(const RunOptions& options) {
  if (options.threads > 0) at::set_num_threads(static_cast<int>(options.threads));
}

int64_t parse_topk(const std::string& text, int64_t experts) {
  if (text == "E" || text == "e") return experts;
  const bool digits = !text.empty() && text.size() < 10 &&
                      text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || std::stoll(text) < 1)
    fail_usage("--topk {}: allowed are 1 to the number of experts, and E for all of them", text);
  return std::stoll(text);
}

void fail_unknown_suite(const std::string& name, const std::vector<std::string>& known) {
  const auto nearest = nearest_name(name, known);
  fail_usage("--suite {}: there is no such suite{}; there are: {}", name,
             nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest),
             fmt::join(known, ", "));
}

}  // namespace evomoe::bench
