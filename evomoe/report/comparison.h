#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/report/run_history.h"
#include "evomoe/report/table.h"

/// Run folders side by side: what `evomoe compare` prints.
namespace evomoe {

/// Mean and sample standard deviation over the runs of a row.
struct Measure {
  double mean = 0;
  std::optional<double> deviation;  ///< nothing of one run
};

/// Of at least one value.
Measure measure(const std::vector<double>& values);
/// "12.34 ± 0.05", or "12.34 +- 0.05".
std::string with_spread(const Measure& value, bool utf8,
                        const std::function<std::string(double)>& format);

/// Training time until a perplexity was reached.
struct TimeTo {
  std::optional<Measure> seconds;  ///< of the runs that reached it; nothing: none did
  size_t runs = 0;                 ///< how many did
};

struct ComparedRun {
  RunHistory history;
  std::vector<TrainingPoint> training;
  std::vector<ValidationPoint> validations;  ///< at least one
  nlohmann::ordered_json data;               ///< data.json of its folder; null: it has none

  const ValidationPoint& last() const { return validations.back(); }
};

/// A row: one run, or all seeds of one.
struct ComparedRow {
  std::string name;
  std::vector<ComparedRun> runs;

  /// Of the last validations; a mean of NaN: a run has diverged.
  Measure perplexity() const;
  Measure seconds() const;
  Measure gflops_per_token() const;
  Measure tokens_per_second() const;
  Measure updates() const;
  std::optional<Measure> active_experts() const;
  TimeTo time_to(double perplexity) const;
};

/// "12.34", or "diverged".
std::string perplexity_text(double perplexity);

class Comparison {
 public:
  /// `group`: runs whose names differ in the number behind their last hyphen alone are one row.
  /// `baseline`: a folder, or a name of one or, with `group`, of a row; empty: the first row.
  Comparison(std::vector<RunHistory> runs, const std::string& subset, bool group,
             const std::string& baseline);
  Comparison(std::vector<ComparedRun> runs, const std::string& subset, bool group,
             const std::string& baseline);

  const std::vector<ComparedRow>& rows() const { return rows_; }
  const ComparedRow& baseline() const { return rows_[baseline_]; }

  /// What makes the perplexities of the runs incomparable, a sentence each: other validation data,
  /// dictionaries, settings.
  const std::vector<std::string>& differences() const { return differences_; }
  /// What else differs in their data, or is not known of it.
  const std::vector<std::string>& notes() const { return notes_; }

  Table table(bool utf8) const;
  nlohmann::ordered_json json() const;
  /// What the table means, which run is best and by how much, and what an evolution did.
  std::string verdict() const;
  /// The sentences of the verdict, one a line of any length.
  std::string sentences() const;
  /// Experts per token and time per update of the first run that changes its number of experts;
  /// empty: none does.
  std::string pictures(bool utf8) const;

 private:
  size_t find_baseline(const std::string& baseline) const;
  void compare_data(const std::string& subset);

  std::vector<ComparedRow> rows_;
  size_t baseline_ = 0;
  std::vector<std::string> differences_, notes_;
};

}  // namespace evomoe
