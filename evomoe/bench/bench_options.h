#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/config/option_table.h"

namespace evomoe::bench {

/// What every benchmark has.
struct RunOptions {
  std::optional<std::string> suite;
  bool list = false;          ///< name suites and cases, and do nothing
  int64_t threads = 0;        ///< 0: as many as the library takes
  double peak_seconds = 2.0;  ///< spent on each measurement of the matrix-product peak
  double budget_s = 60.0;     ///< of the repeats of one case
  int64_t warmup = 3;
  int64_t repeats = 10;
};

void describe(OptionTable& table, RunOptions& options);

/// Group of the options that make up a case by themselves: they do not go together with --suite.
constexpr const char* kCaseGroup = "case";
/// Throws UsageError when the command line names a suite and sizes that the suite fixes.
void check_suite(const OptionTable& table);

/// Sets the number of threads.
void use_threads(const RunOptions& options);

/// --topk: a number of experts per token, or E for all; UsageError otherwise.
int64_t parse_topk(const std::string& text, int64_t experts);

/// A named list of cases.
template <typename Case>
struct Suite {
  std::string name;
  std::vector<Case> cases;
};

/// UsageError naming the suites there are and the nearest one.
[[noreturn]] void fail_unknown_suite(const std::string& name,
                                     const std::vector<std::string>& known);

/// The cases of the suite `name`.
template <typename Case>
const std::vector<Case>& suite_cases(const std::vector<Suite<Case>>& suites,
                                     const std::string& name) {
  std::vector<std::string> known;
  for (const auto& suite : suites) {
    if (suite.name == name) return suite.cases;
    known.push_back(suite.name);
  }
  fail_unknown_suite(name, known);
}

/// Prints the names of suites with the labels of their cases.
template <typename Case>
std::string suite_list(const std::vector<Suite<Case>>& suites) {
  std::string text;
  for (const auto& suite : suites) {
    text += "suite " + suite.name + ":";
    for (const auto& one : suite.cases) text += " " + one.label();
    text += "\n";
  }
  return text;
}

}  // namespace evomoe::bench
