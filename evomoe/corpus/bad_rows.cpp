#include "evomoe/corpus/bad_rows.h"

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"

namespace evomoe {
namespace {

constexpr int64_t kPrintedRows = 5;

}  // namespace

void BadRows::add(const std::string& file, int64_t row, const std::string& where,
                  const std::string& reason) {
  if (!skip_) fail("{}: {} (--on-bad-row skip leaves such rows out)", where, reason);
  auto& last = last_row_[file];
  if (row <= last) return;
  last = row;
  if (++count_ <= kPrintedRows) log().warn("{}: left out: {}", where, reason);
  if (count_ == kPrintedRows + 1) log().warn("further bad rows are only counted");
}

std::string BadRows::summary() const {
  return count_ == 1 ? "1 bad row was left out" : fmt::format("{} bad rows were left out", count_);
}

}  // namespace evomoe
