#pragma once

#include <string>
#include <vector>

namespace evomoe {

/// A small table: a header and rows of text cells.
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  /// Error when the number of cells is not the header's.
  void add_row(std::vector<std::string> cells);

  /// Aligned with spaces for a terminal: text to the left, columns of numbers to the right, a rule
  /// under the header.
  std::string text() const;
  /// A GitHub table.
  std::string markdown() const;

  size_t rows() const { return rows_.size(); }

 private:
  bool numeric(size_t column) const;
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace evomoe
