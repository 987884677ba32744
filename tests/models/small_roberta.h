#pragma once

#include "evomoe/models/roberta.h"
#include "tests/models/small_gpt.h"

namespace evomoe::testing {

/// A small RoBERTa without dropout and without heads of sentences.
inline RobertaOptions small_roberta() {
  RobertaOptions options;
  options.vocab_size = kVocabulary;
  options.layers = 2;
  options.embed_dim = 16;
  options.ffn_dim = 32;
  options.heads = 2;
  options.max_positions = kPositions;
  options.dropout = 0;
  return options;
}

}  // namespace evomoe::testing
