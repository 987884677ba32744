#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "evomoe/base/philox.h"
#include "evomoe/models/key_value_cache.h"
#include "evomoe/models/positions.h"
#include "evomoe/parallel/communicator.h"
#include "evomoe/routing/router.h"

namespace evomoe {

/// What a forward pass needs beside the tokens; the same for all layers.
struct ForwardContext {
  bool training = false;
  bool route_as_trained =
      false;  ///< evaluation with the routing of the present training stage, noise included
  RouterSchedule schedule;  ///< of the routers
  NoiseKey noise;  ///< seed, update, first sequence; a stack sets the sequence length; layer and
                   ///< site are set where it is used
  torch::Tensor padding_BS;  ///< bool, true = padding; undefined when no token is padding
  /// Rows that hold several sequences (packing): int64, the sequence of each token, 0 = padding.
  /// Each attends to itself alone, and its positions begin anew. Undefined: a row is a sequence.
  torch::Tensor segment_BS;
  /// What attention reads of it, segment_mask() of models/attention.h; B may be 1. A stack makes
  /// it, once for all of its layers, and also where a window hides earlier tokens of a row.
  torch::Tensor segment_mask_B1SS;
  /// What self-attention turns queries and keys by, of rotary positions. A stack makes it as well.
  std::optional<Rotation> rotation;
  bool mask_padding_in_moe = false;  ///< --use-moe-pad-mask: padding takes no place in an expert
  int64_t padded_batch = 0;          ///< sequences an MoE layer pads a short batch to; 0: never
  torch::Tensor token_id_T;          ///< int64 [B*S], the input tokens
  Communicator* communicator = nullptr;  ///< the ranks of the run; null: in evaluation
  bool stands_in = false;                ///< RoutingContext::stands_in
  KeyValueCache* cache = nullptr;        ///< incremental decoding; null: the whole sequence at once
  /// Gumbel noise [T,E] of a layer's router given from outside (recorded runs); empty: drawn from
  /// `noise`.
  std::function<torch::Tensor(int64_t layer)> gate_gumbel;
  /// Called with each block's output, to find where a value stops being finite; empty: not.
  std::function<void(int64_t layer, const torch::Tensor& x_BSD)> probe;
};

}  // namespace evomoe
