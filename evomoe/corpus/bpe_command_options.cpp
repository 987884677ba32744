#include "evomoe/corpus/bpe_command_options.h"

#include "evomoe/config/option_table.h"

namespace evomoe {

void BpeCommandOptions::describe(OptionTable& table) {
  BpeFlags::describe(table);
  CorpusOptions::describe(table);
}

}  // namespace evomoe
