#pragma once

#include <torch/torch.h>

#include <string>

#include "evomoe/models/forward_context.h"
#include "evomoe/models/linear.h"
#include "evomoe/models/norm.h"

namespace evomoe {

struct AttentionOptions {
  int64_t embed_dim = 512;
  int64_t heads = 8;
  /// Heads of keys and values (grouped-query attention, arXiv 2305.13245): each serves the same
  /// number of neighbouring heads. 0: as many as heads.
  int64_t kv_heads = 0;
  int64_t head_dim = 0;      ///< width of a head; 0: embed_dim / heads
  std::string bias = "all";  ///< projections with a bias: all | qkv | none
  std::string query_key_norm =
      "none";            ///< of queries and keys: none | width (OLMoE) | head (Qwen3)
  NormOptions norm;      ///< the kind of that norm
  int64_t window = 0;    ///< causal: a query sees the last so many keys, its own among them; 0: all
  double dropout = 0.0;  ///< on the attention probabilities
  int64_t layer = 0;
  bool causal = true;            ///< self-attention: a token sees those before it and itself only
  bool cross = false;            ///< keys and values come from another sequence
  std::string half = "decoder";  ///< of the model, for messages: decoder or encoder

  /// Throws UsageError for numbers of heads that do not divide each other or the width, or are too
  /// large, and for words that are not known.
  void validate() const;

  int64_t key_heads() const { return kv_heads > 0 ? kv_heads : heads; }
  int64_t head_width() const { return head_dim > 0 ? head_dim : embed_dim / heads; }
  int64_t query_width() const { return heads * head_width(); }
  int64_t key_width() const { return key_heads() * head_width(); }
};

/// Multiply-adds of self-attention for a token of a sequence of `length`: its projections, scores
/// and values. Where it sees the past only, it meets as many keys as the mean token does.
double attention_work(const AttentionOptions& options, double length);

/// What cross-attention reads: the encoder's output.
struct Memory {
  torch::Tensor x_BSD;
  torch::Tensor padding_BS;  ///< bool, true = padding; undefined when no token is padding
};

/// [B,1,S,S], what is added to the scores of the queries of rows with segments
/// (ForwardContext::segment_BS): 0 for the keys that are attended to, minus infinity for others.
/// Padding is a segment like any other, so that no query is left without a key. `window`: as
/// AttentionOptions has it.
torch::Tensor segment_mask(const torch::Tensor& segment_BS, bool causal, torch::ScalarType type,
                           int64_t window = 0);

/// Multi-head attention with separate q, k, v and output projections (Vaswani et al. 2017, section
/// 3.2): causal or bidirectional self-attention, or attention to an encoder's output. With norms of
/// queries and keys these are children `q_norm` and `k_norm`.
class AttentionImpl : public torch::nn::Module {
 public:
  explicit AttentionImpl(const AttentionOptions& options);

  /// x_BSD [B,S,D] -> [B,S,D]. Padding (self: context.padding_BS; cross: that of the memory) is
  /// never attended to by what is none; nor, in self-attention, are other sequences of the row
  /// (context.segment_mask_B1SS). With a cache, x holds the new tokens only, and the memory's keys
  /// and values are made once. Self-attention turns queries and keys by context.rotation, if there
  /// is one; a cache holds turned keys, of a window no more than later tokens can see. `memory`
  /// must be given exactly when the options say `cross`.
  torch::Tensor forward(const torch::Tensor& x_BSD, const ForwardContext& context,
                        const Memory* memory = nullptr);

  /// q/k/v: Xavier uniform with gain 1/sqrt(2); output: Xavier uniform, bias 0.
  void initialise(uint64_t seed, const std::string& name);

 private:
  /// Queries, or keys, [B,H,S,C] of x, normed and turned.
  torch::Tensor heads_of(const torch::Tensor& x_BSD, Linear& projection, Norm& norm,
                         const ForwardContext& context);
  /// Keys and values [B,K,S,C] that the queries meet, of K heads.
  std::pair<torch::Tensor, torch::Tensor> keys_and_values(const torch::Tensor& x_BSD,
                                                          const ForwardContext& context,
                                                          const Memory* memory);
  torch::Tensor attend(const torch::Tensor& q_BHSD, const torch::Tensor& k_BHSD,
                       const torch::Tensor& v_BHSD, const torch::Tensor& key_padding_BS,
                       const ForwardContext& context);
  /// attend() where a head of keys serves several of queries.
  torch::Tensor attend_grouped(const torch::Tensor& q_BHSD, const torch::Tensor& k_BKSD,
                               const torch::Tensor& v_BKSD, const torch::Tensor& key_padding_BS,
                               const ForwardContext& context);
  torch::Tensor split_heads(const torch::Tensor& x_BSD) const;

  AttentionOptions options_;
  Linear k_proj{nullptr}, v_proj{nullptr}, q_proj{nullptr}, out_proj{nullptr};
  Norm q_norm{nullptr}, k_norm{nullptr};
};
TORCH_MODULE(Attention);

}  // namespace evomoe
