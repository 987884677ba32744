#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evomoe/report/run_history.h"

namespace evomoe {

/// Five significant digits: as much as a curve shows, in few characters.
double short_number(double value);

/// Numbers of a run beside how far it was, for curves. It never has more than 2 x `most` rows: then
/// neighbours become one. So a log of any length takes the same memory, and no peak is lost where a
/// column keeps the largest value.
class CurveTable {
 public:
  enum class Join { kMean, kLeast, kMost };
  struct Column {
    std::string name;
    Join join = Join::kMean;
  };

  CurveTable(std::vector<Column> columns, size_t most);

  /// One value a column; NaN: there is none.
  void add(const RunPlace& place, const std::vector<double>& values);

  size_t rows() const { return rows_.size(); }
  /// So many lines of the log are one row; of the last one maybe fewer.
  int64_t lines_per_row() const { return lines_per_row_; }
  const RunPlace& place(size_t row) const { return rows_[row].place; }  ///< of its last line
  /// NaN where no line of the row had a value.
  double value(size_t row, const std::string& column) const;

  /// {"updates": [...], "tokens": [...], "flops": [...], "seconds": [...], and a list of each
  /// column that has a value other than 0}; what is not known is null.
  nlohmann::ordered_json json() const;

 private:
  struct Cell {
    double value = 0;  ///< a sum where the column has means
    int64_t count = 0;
  };
  struct Row {
    RunPlace place;
    int64_t lines = 0;
    std::vector<Cell> cells;
  };
  void join(Row& row, const Row& next) const;
  double value(const Row& row, size_t column) const;

  std::vector<Column> columns_;
  size_t most_;
  int64_t lines_per_row_ = 1;
  std::vector<Row> rows_;
};

}  // namespace evomoe
