#include "evomoe/cli/report.h"

#include <fmt/ranges.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <ostream>
#include <thread>

#include "evomoe/base/byte_size.h"
#include "evomoe/base/error.h"
#include "evomoe/base/write_file.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/generate/token_routes.h"
#include "evomoe/loading/loaded_model.h"
#include "evomoe/page/live_server.h"
#include "evomoe/page/report_page.h"
#include "evomoe/run/signals.h"

namespace evomoe {
namespace {

std::filesystem::path output_of(const ReportOptions& flags) {
  if (flags.output) {
    const std::filesystem::path output = *flags.output;
    if (output.extension() != ".html") {
      fail_usage("--output {}: the report is an HTML file, so the name must end in .html",
                 *flags.output);
    }
    return output;
  }
  if (flags.run.size() > 1)
    fail_usage(
        "evomoe report: give --output FILE.html, as the report of several runs has no folder");
  return std::filesystem::path(flags.run.front()) / "report.html";
}

/// Which tokens go to which expert of a run; null for a model without experts.
nlohmann::ordered_json routes_of_run(const ReportOptions& flags, const std::filesystem::path& run) {
  const auto loaded = load_model(run / flags.checkpoint, {});
  if (loaded.model->moe_layers().empty()) {
    log().info("{}: this model has no experts, so that --tokens has nothing to show of it",
               run.string());
    return nullptr;
  }
  auto json = token_routes(loaded, flags.valid_subset, *flags.tokens);
  json["checkpoint"] = flags.checkpoint;
  return json;
}

/// Until a signal comes. Returns the exit code.
int serve(const ReportOptions& flags, std::unique_ptr<ReportPage> page) {
  const SignalWatch signals;
  auto whole = std::make_shared<std::unique_ptr<ReportPage>>(std::move(page));
  const LiveServer server({.port = *flags.live.live, .address = flags.live.live_address},
                          EVOMOE_VERSION, [whole] { return std::move(*whole); });
  log().info("live page of {}: {} (Ctrl-C ends it)", fmt::join(flags.run, ", "), server.url());
  while (SignalWatch::received() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  return 128 + SignalWatch::received();
}

}  // namespace

void ReportOptions::describe(OptionTable& table) {
  table.positional("run", &run, "Run folders, also of runs that are still going on.")
      .metavar("RUN...")
      .required();
  table
      .add("output", &output,
           "The page to write, one HTML file that needs no other; not given: report.html in the "
           "folder of the one run.")
      .alias("o")
      .metavar("FILE.html");
  table.add("valid-subset", &valid_subset, "Split whose perplexity is compared.").metavar("NAME");
  table
      .add("format", &format,
           "json: the numbers and sentences of the page on stdout, instead of the page.")
      .choices({"html", "json"});
  table
      .add("tokens", &tokens,
           "Adds which tokens go to which expert: so many tokens of --valid-subset (without a "
           "number: 20000) go through the model of a checkpoint of each run that has experts.")
      .metavar("COUNT")
      .bare("20000")
      .range(100, 1e8);
  table.add("checkpoint", &checkpoint, "Checkpoint of the run folder that --tokens uses.")
      .metavar("NAME");
  live.describe(table);
  table.example("evomoe report runs/evomoe", "writes runs/evomoe/report.html");
  table.example("evomoe report runs/evomoe runs/switch -o report.html", "two runs on one page");
  table.example("evomoe report --live runs/evomoe",
                "the page of a run that goes on, at http://127.0.0.1:8765");
}

int report_command(const std::vector<std::string>& arguments) {
  ReportOptions flags;
  if (!parse_command("report", arguments, flags)) return 0;
  if (flags.live.live && (flags.output || flags.format == "json"))
    fail_usage("--live serves the page, and writes none: leave out --output and --format");
  if (flags.live.live && flags.tokens)
    fail_usage("--tokens is for a page that is written: it takes a model's time (without --live)");
  const bool writes = !flags.live.live && flags.format == "html";
  const auto output = writes ? output_of(flags) : std::filesystem::path();
  auto page = std::make_unique<ReportPage>(ReportPageOptions{
      .folders = flags.run, .subset = flags.valid_subset, .version = EVOMOE_VERSION});
  if (flags.live.live) return serve(flags, std::move(page));
  page->update();
  for (const auto& run : page->runs()) {
    if (run->cut()) warn_of_cut_log(run->folder() / "log.jsonl");
    if (!run->has_points())
      log().warn("{}: the run has logged nothing yet", run->folder().string());
  }
  auto json = page->json();
  if (flags.tokens) {
    for (size_t i = 0; i < page->runs().size(); ++i)
      json["runs"][i]["tokens"] = routes_of_run(flags, page->runs()[i]->folder());
  }
  if (flags.format == "json") {
    fmt::print("{}\n", page_json(json));
    return 0;
  }
  const auto text = page_html(page_json(json), /*live=*/false);
  write_file(output, [&](std::ostream& stream) { stream << text; });
  log().info("{}: {}, {}", output.string(), fmt::join(flags.run, ", "),
             byte_size_text(static_cast<int64_t>(text.size())));
  return 0;
}

}  // namespace evomoe
