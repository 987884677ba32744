#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

namespace evomoe {

/// Bands of the vocabulary by frequency: tokens [0, c0), [c0, c1), ... each with narrower vectors
/// than the one before (Baevski and Auli, arXiv 1809.10853).
struct AdaptiveBands {
  std::vector<int64_t> cutoffs;  ///< empty: no bands
  double factor = 4;             ///< band i has width D / factor^i

  bool used() const { return !cutoffs.empty(); }
  /// The first token of each band, and the end. Throws UsageError naming `flag` for cutoffs that do
  /// not rise or lie beyond the vocabulary.
  std::vector<int64_t> bounds(int64_t vocab_size, const std::string& flag) const;
  int64_t width(int64_t dim, size_t band) const;
};

/// Adaptive input embeddings: a table for each band, projected to the model's width. Parameters
/// embeddings.{i}.0.weight [tokens of the band, width] and embeddings.{i}.1.weight [D, width], as
/// in the reference.
class AdaptiveInputImpl : public torch::nn::Module {
 public:
  AdaptiveInputImpl(const AdaptiveBands& bands, int64_t vocab_size, int64_t dim,
                    int64_t padding_index);
  /// int64 [...] -> [..., D]; padding has no gradient.
  torch::Tensor forward(const torch::Tensor& token);
  void initialise(uint64_t seed, const std::string& name);

  size_t bands() const { return tables_.size(); }
  const torch::Tensor& table(size_t band) const { return tables_[band]; }
  const torch::Tensor& projection(size_t band) const { return projections_[band]; }

 private:
  std::vector<int64_t> bounds_;
  int64_t dim_, padding_index_;
  std::vector<torch::Tensor> tables_, projections_;
};
TORCH_MODULE(AdaptiveInput);

}  // namespace evomoe
