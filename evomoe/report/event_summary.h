#pragma once

#include <string>
#include <vector>

#include "evomoe/report/heat_map.h"

namespace evomoe {

/// What TensorBoard shows of one update: values by their tags, as the bytes of a `Summary` message.
class EventSummary {
 public:
  void scalar(const std::string& tag, double value);
  /// How the values are distributed; nothing of none.
  void histogram(const std::string& tag, const std::vector<double>& values);
  void image(const std::string& tag, const PngImage& image);
  /// `text` is read as Markdown.
  void text(const std::string& tag, const std::string& text);

  const std::string& bytes() const { return bytes_; }

 private:
  void add(const std::string& tag, const std::string& rest);

  std::string bytes_;
};

}  // namespace evomoe
