#include "evomoe/base/log.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/report/comparison.h"
#include "evomoe/report/terminal_chart.h"

namespace evomoe {

int compare_command(const std::vector<std::string>& arguments) {
  CompareOptions flags;
  const auto bind = [](OptionTable& table, CompareOptions& o) { describe(table, o); };
  if (!parse_command("compare", arguments, flags, bind)) return 0;
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
