#pragma once

#include <string>

namespace evomoe {

class OptionTable;

/// How files of documents are read.
struct CorpusOptions {
  std::string text_column = "text";  ///< of JSON lines, Parquet and Arrow
  std::string on_bad_row = "stop";   ///< stop | skip

  void describe(OptionTable& table);
  bool skips_bad_rows() const { return on_bad_row == "skip"; }
};

}  // namespace evomoe
