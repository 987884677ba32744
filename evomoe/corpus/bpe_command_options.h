#pragma once

#include "evomoe/corpus/corpus_options.h"
#include "evomoe/text/bpe_options.h"

namespace evomoe {

/// `evomoe bpe train|encode|decode`, with how `train` reads its files.
struct BpeCommandOptions : BpeFlags, CorpusOptions {
  void describe(OptionTable& table);
};

}  // namespace evomoe
