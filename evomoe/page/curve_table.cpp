#include "evomoe/page/curve_table.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

using nlohmann::ordered_json;

constexpr double kNoValue = std::numeric_limits<double>::quiet_NaN();

}  // namespace

double short_number(double value) {
  if (!std::isfinite(value)) return kNoValue;
  return std::strtod(fmt::format("{:.5g}", value).c_str(), nullptr);
}

CurveTable::CurveTable(std::vector<Column> columns, size_t most)
    : columns_(std::move(columns)), most_(std::max<size_t>(most, 1)) {}

void CurveTable::join(Row& row, const Row& next) const {
  row.place = next.place;
  row.lines += next.lines;
  for (size_t i = 0; i < columns_.size(); ++i) {
    auto& cell = row.cells[i];
    const auto& other = next.cells[i];
    if (other.count == 0) continue;
    if (cell.count == 0) {
      cell = other;
      continue;
    }
    cell.count += other.count;
    switch (columns_[i].join) {
      case Join::kMean:
        cell.value += other.value;
        break;
      case Join::kLeast:
        cell.value = std::min(cell.value, other.value);
        break;
      case Join::kMost:
        cell.value = std::max(cell.value, other.value);
        break;
    }
  }
}

void CurveTable::add(const RunPlace& place, const std::vector<double>& values) {
  EVOMOE_CHECK(values.size() == columns_.size(), "a row of {} values for {} curves", values.size(),
               columns_.size());
  Row row{place, 1, {}};
  for (const double value : values)
    row.cells.push_back(std::isfinite(value) ? Cell{value, 1} : Cell{});
  if (!rows_.empty() && rows_.back().lines < lines_per_row_) {
    join(rows_.back(), row);
    return;
  }
  if (rows_.size() == 2 * most_) {
    for (size_t i = 0; i < most_; ++i) {
      join(rows_[2 * i], rows_[2 * i + 1]);
      if (i > 0) rows_[i] = std::move(rows_[2 * i]);
    }
    rows_.resize(most_);
    lines_per_row_ *= 2;
  }
  rows_.push_back(std::move(row));
}

double CurveTable::value(const Row& row, size_t column) const {
  const auto& cell = row.cells[column];
  if (cell.count == 0) return kNoValue;
  return columns_[column].join == Join::kMean ? cell.value / static_cast<double>(cell.count)
                                              : cell.value;
}

double CurveTable::value(size_t row, const std::string& column) const {
  const auto found = std::find_if(columns_.begin(), columns_.end(),
                                  [&](const Column& each) { return each.name == column; });
  EVOMOE_CHECK(found != columns_.end(), "there is no curve '{}'", column);
  return value(rows_[row], static_cast<size_t>(found - columns_.begin()));
}

ordered_json CurveTable::json() const {
  ordered_json json;
  for (const auto* axis : {"updates", "tokens", "flops", "seconds"})
    json[axis] = ordered_json::array();
  for (const auto& row : rows_) {
    json["updates"].push_back(row.place.updates);
    json["tokens"].push_back(short_number(row.place.tokens));
    json["flops"].push_back(short_number(row.place.flops));
    json["seconds"].push_back(short_number(row.place.seconds));
  }
  for (size_t i = 0; i < columns_.size(); ++i) {
    const bool shown = std::any_of(rows_.begin(), rows_.end(), [&](const Row& row) {
      return row.cells[i].count > 0 && row.cells[i].value != 0;
    });
    if (!shown) continue;
    auto& values = json[columns_[i].name] = ordered_json::array();
    for (const auto& row : rows_) values.push_back(short_number(value(row, i)));
  }
  return json;
}

}  // namespace evomoe
