#pragma once

#include <cstdint>
#include <functional>

#include "evomoe/corpus/corpus.h"
#include "evomoe/text/byte_bpe.h"

namespace evomoe {

/// ByteBpe::train on the items of a corpus, stripped at both ends unless `keep_whitespace`. The
/// result does not depend on `threads`, which only read it.
ByteBpe train_bpe(const Corpus& corpus, int64_t vocab_size, int threads, bool keep_whitespace,
                  const std::function<void(int64_t, int64_t)>& progress = {});

}  // namespace evomoe
