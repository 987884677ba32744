#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evomoe/page/page_run.h"

/// The page of `evomoe report`: what runs did, as one HTML file that needs nothing else.
namespace evomoe {

struct ReportPageOptions {
  std::vector<std::string> folders;  ///< of the runs
  std::string subset = "valid";      ///< the runs are compared by their perplexity on it
  std::string version;               ///< of the program
};

/// The runs of a page, read up to the present ends of their logs.
class ReportPage {
 public:
  /// Reads nothing yet: update() does. Errors: a folder that is not there or has no log; a
  /// UsageError where a run is given twice.
  explicit ReportPage(ReportPageOptions options);

  /// Takes in what the runs have written since; whether there was anything. Error: a damaged log.
  bool update();

  /// What the page shows: numbers of each run, differences of their options, sentences.
  nlohmann::ordered_json json() const;
  const std::vector<std::unique_ptr<PageRun>>& runs() const { return runs_; }

 private:
  std::vector<std::string> comparison() const;

  ReportPageOptions options_;
  std::vector<std::unique_ptr<PageRun>> runs_;
};

/// The JSON as text for a page. Bytes that are not UTF-8 are replaced.
std::string page_json(const nlohmann::ordered_json& json);

/// The whole page, with its data in it. `live`: it asks the server that it came from for newer
/// data. Error where the build has no plotting library.
std::string page_html(const std::string& json, bool live);

}  // namespace evomoe
