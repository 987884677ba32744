#pragma once

#include <string>
#include <vector>

namespace evomoe {

/// The dimensions a `--arch` name stands for (reference/evomoe.md section 7.2).
struct Architecture {
  std::string name;
  int layers, embed_dim, ffn_dim, heads;
  std::string activation;
  bool learned_positions;
  double dropout, attention_dropout, activation_dropout;
  bool tied;  ///< forces tied input and output embeddings
};

/// Looks up an architecture. Unknown names are a UsageError that lists the known ones; those with
/// adaptive softmax are refused as not supported.
const Architecture& find_architecture(const std::string& name);

std::vector<std::string> architecture_names();

}  // namespace evomoe
