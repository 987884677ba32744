#include "evomoe/corpus/corpus_options.h"

#include "evomoe/config/option_table.h"

namespace evomoe {

void CorpusOptions::describe(OptionTable& table) {
  table
      .add("text-column", &text_column,
           "Key of JSON lines, or column of Parquet and Arrow files, that holds the text.")
      .metavar("NAME");
  table
      .add("on-bad-row", &on_bad_row,
           "A row that is no JSON, has no text or is not UTF-8: stop with an error that names it, "
           "or "
           "skip it, and say how many there were.")
      .choices({"stop", "skip"});
}

}  // namespace evomoe
