#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace evomoe {

/// What becomes of rows of which nothing can be made (`--on-bad-row`): the first one is an Error,
/// or they are left out, counted, and the first few are printed.
class BadRows {
 public:
  explicit BadRows(bool skip) : skip_(skip) {}

  /// Row `row` of `file`, at `where` (`x.jsonl:3`). Rows of a file come in their order; one that is
  /// come across again when the file is read a second time is not counted twice.
  void add(const std::string& file, int64_t row, const std::string& where,
           const std::string& reason);

  int64_t count() const { return count_; }
  /// How many there were: `3 bad rows were left out`.
  std::string summary() const;

 private:
  bool skip_;
  int64_t count_ = 0;
  std::map<std::string, int64_t> last_row_;  ///< by file
};

}  // namespace evomoe
