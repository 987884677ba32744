#include "evomoe/report/table.h"

#include <algorithm>
#include <cstdlib>

#include "evomoe/base/error.h"
#include "evomoe/base/text_layout.h"

namespace evomoe {
namespace {

/// A number with at most a short unit behind it: 12, 3.5%, 1:06:40, 7.1k, 2 ± 1, -; and nothing at
/// all.
bool number_like(std::string text) {
  const std::string spread = "±";
  if (const auto at = text.find(spread); at != std::string::npos) text.erase(at, spread.size());
  if (text.empty() || text == "-" || text == "–") return true;
  const size_t digit = text.find_first_of("0123456789");
  const size_t first_letter = text.find_first_not_of("0123456789.,:+-~ ");
  return digit != std::string::npos && digit < 2 &&
         (first_letter == std::string::npos || text.size() - first_letter <= 4);
}

std::string pad(const std::string& text, size_t width, bool right) {
  const std::string space(width - terminal_columns(text), ' ');
  return right ? space + text : text + space;
}

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '|' ? "\\|" : (c == '\n' ? " " : std::string(1, c));
  return result;
}

}  // namespace

Table::Table(std::vector<std::string> header) : header_(std::move(header)) {
  EVOMOE_CHECK(!header_.empty(), "a table needs at least one column");
}

void Table::add_row(std::vector<std::string> cells) {
  EVOMOE_CHECK(cells.size() == header_.size(), "a row of {} cells in a table of {} columns",
               cells.size(), header_.size());
  rows_.push_back(std::move(cells));
}

bool Table::numeric(size_t column) const {
  return std::all_of(rows_.begin(), rows_.end(),
                     [&](const std::vector<std::string>& row) { return number_like(row[column]); });
}

std::string Table::text() const {
  std::vector<size_t> width;
  for (size_t c = 0; c < header_.size(); ++c) {
    width.push_back(terminal_columns(header_[c]));
    for (const auto& row : rows_) width[c] = std::max(width[c], terminal_columns(row[c]));
  }
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (size_t c = 0; c < cells.size(); ++c)
      text += (c == 0 ? "" : "  ") + pad(cells[c], width[c], numeric(c));
    return text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
  };
  std::vector<std::string> rule;
  for (const size_t w : width) rule.emplace_back(w, '-');
  std::string text = line(header_) + line(rule);
  for (const auto& row : rows_) text += line(row);
  return text;
}

std::string Table::markdown() const {
  std::string text = "|", rule = "|";
  for (size_t c = 0; c < header_.size(); ++c) {
    text += " " + escaped(header_[c]) + " |";
    rule += numeric(c) ? " ---: |" : " --- |";
  }
  text += "\n" + rule + "\n";
  for (const auto& row : rows_) {
    text += "|";
    for (const auto& cell : row) text += " " + escaped(cell) + " |";
    text += "\n";
  }
  return text;
}

}  // namespace evomoe
