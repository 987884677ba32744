#include "evomoe/page/report_page.h"

#include <fmt/ranges.h>

#include <sstream>
#include <string_view>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/base/log.h"
#include "evomoe/page/embedded_files.h"
#include "evomoe/report/comparison.h"

namespace evomoe {
namespace {

using nlohmann::ordered_json;

/// `text` with each {{name}} replaced. What is put in is not searched.
std::string filled(std::string_view text,
                   const std::vector<std::pair<std::string_view, std::string_view>>& parts) {
  std::string result;
  while (true) {
    const auto begin = text.find("{{");
    const auto end = text.find("}}", begin);
    if (begin == std::string_view::npos || end == std::string_view::npos) break;
    const auto name = text.substr(begin + 2, end - begin - 2);
    result += text.substr(0, begin);
    bool known = false;
    for (const auto& [part, value] : parts) {
      if (part != name) continue;
      result += value;
      known = true;
    }
    EVOMOE_CHECK(known, "template.html: nothing is called '{}'", name);
    text.remove_prefix(end + 2);
  }
  result += text;
  return result;
}

}  // namespace

ReportPage::ReportPage(ReportPageOptions options) : options_(std::move(options)) {
  const auto& folders = options_.folders;
  const auto limits = PageLimits::of_runs(folders.size());
  std::vector<RunHistory*> histories;
  for (const auto& folder : folders) {
    runs_.push_back(std::make_unique<PageRun>(folder, limits));
    histories.push_back(&runs_.back()->history());
  }
  name_apart(histories, folders, "evomoe report");
}

bool ReportPage::update() {
  bool changed = false;
  for (const auto& run : runs_) changed = run->update() || changed;
  return changed;
}

/// What the runs' perplexities say of each other.
std::vector<std::string> ReportPage::comparison() const {
  std::vector<std::string> sentences;
  std::vector<ComparedRun> compared;
  std::vector<std::string> without;
  for (const auto& run : runs_) {
    auto each = run->compared(options_.subset);
    if (each.validations.empty()) {
      without.push_back(run->name());
    } else {
      compared.push_back(std::move(each));
    }
  }
  if (runs_.size() > 1 && !without.empty()) {
    sentences.push_back(fmt::format(
        "Not compared by perplexity, as there is no validation of '{}' that has one: {}.",
        options_.subset, fmt::join(without, ", ")));
  }
  if (compared.size() < 2) return sentences;
  const Comparison comparison(std::move(compared), options_.subset, /*group=*/false,
                              /*baseline=*/"");
  std::istringstream lines(comparison.sentences());
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) sentences.push_back(line);
  }
  return sentences;
}

ordered_json ReportPage::json() const {
  ordered_json json;
  json["version"] = options_.version;
  json["made"] = timestamp();
  json["subset"] = options_.subset;
  json["comparison"] = comparison();
  std::vector<RunSettings> settings;
  for (const auto& run : runs_) settings.push_back(run->settings());
  json["differences"] = runs_.size() > 1 ? setting_differences(settings) : ordered_json::array();
  json["runs"] = ordered_json::array();
  for (const auto& run : runs_) {
    auto of_run = run->json();
    of_run["sentences"] = run->sentences();
    json["runs"].push_back(std::move(of_run));
  }
  return json;
}

std::string page_json(const ordered_json& json) { return json_text(json); }

std::string page_html(const std::string& json, bool live) {
  EVOMOE_CHECK(!dygraph_min_js().empty(),
               "this build of evomoe has no plotting library for the page of a report: install "
               "dygraphs (Debian: libjs-dygraphs) and build again");
  // In a script element, nothing but its end is special.
  std::string data;
  for (const char c : json) {
    if (c == '<') {
      data += "\\u003c";
    } else {
      data += c;
    }
  }
  std::string script;
  for (const auto part :
       {words_js(), plots_js(), heat_map_js(), tables_js(), tokens_js(), live_js(), page_js()})
    script += fmt::format("{}\n", part);
  return filled(template_html(), {{"style", page_css()},
                                  {"plotting library", dygraph_min_js()},
                                  {"script", script},
                                  {"data", data},
                                  {"live", live ? "true" : "false"}});
}

}  // namespace evomoe
