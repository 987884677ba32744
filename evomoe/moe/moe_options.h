#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace evomoe {

class OptionTable;

/// The tasks whose models have an encoder, and those whose models have a decoder.
struct TasksByHalf {
  std::vector<std::string> encoder, decoder;
};

/// Which layers of a model are MoE, and what holds for all of them, whatever their router. A field
/// is the option of the same name.
struct MoeOptions {
  int64_t moe_freq = 0;  ///< layer i (from 0) is MoE iff (i+1) % moe_freq == 0; 0: a dense model
  int64_t moe_first_dense_layers = 0;  ///< the first so many layers are dense all the same
  int64_t encoder_moe_freq = 0, decoder_moe_freq = 0;  ///< of one half; 0: moe_freq
  int64_t moe_expert_count = 0;                        ///< E
  int64_t moe_expert_hidden_dim = 0;                   ///< of each expert; 0: that of a dense layer
  int64_t moe_shared_expert_hidden_dim = 0;  ///< of a dense block beside the experts; 0: none
  /// A name of the registry; --moe-top1-expert means switch, --moe-topk-expert means dts.
  std::string moe_router = "gshard";
  int64_t topk = -1;                              ///< the reference's: -1 or E
  std::string moe_balance_scope = "micro-batch";  ///< | rank | update
  bool use_moe_pad_mask = false;
  int64_t alternate_decoder_ffn_embed_dim = 0;
  int64_t alternate_ffn_embed_dim = 0;  ///< of the encoder
  bool recompute_experts = false;
  std::string validate_routing = "reference";  ///< reference | stage | both

  void describe(OptionTable& table, const TasksByHalf& tasks);
};

/// --validate-routing, which training has and whatever else validates.
void describe_validate_routing(OptionTable& table, std::string& validate_routing);

}  // namespace evomoe
