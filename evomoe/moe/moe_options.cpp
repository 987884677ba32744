#include "evomoe/moe/moe_options.h"

#include "evomoe/config/option_table.h"

namespace evomoe {

void MoeOptions::describe(OptionTable& table, const TasksByHalf& tasks) {
  table.group("moe", "Mixture of experts");
  table
      .add("moe-freq", &moe_freq,
           "Every n-th layer is MoE (2: layers 1, 3, 5, ... counted from 0); 0: none.")
      .at_least(0);
  table
      .add("moe-first-dense-layers", &moe_first_dense_layers,
           "The first so many layers are dense, whatever --moe-freq says.")
      .at_least(0);
  table.add("moe-expert-count", &moe_expert_count, "Experts of an MoE layer.").at_least(0);
  table
      .add("moe-expert-hidden-dim", &moe_expert_hidden_dim,
           "Hidden width of each expert; 0: that of a dense layer. Fine-grained experts are more "
           "and narrower.")
      .at_least(0);
  table
      .add("moe-shared-expert-hidden-dim", &moe_shared_expert_hidden_dim,
           "Hidden width of a shared expert of every MoE layer, a dense block that is always on: "
           "every token has it beside the experts of its router (DeepSeekMoE, arXiv 2401.06066). "
           "0: none.")
      .at_least(0);
  table
      .add("moe-router", &moe_router,
           "Routing method, by its name in docs/routing.md (an unknown name lists them). The "
           "default is what the reference uses when neither --moe-top1-expert nor "
           "--moe-topk-expert is given.")
      .metavar("NAME");
  table.shorthand("moe-top1-expert", "moe-router", "switch", "One expert per token.");
  table.shorthand("moe-topk-expert", "moe-router", "dts", "The dense-to-sparse gate.");
  table.add("topk", &topk,
            "Only for the reference's command lines (dense-to-sparse gate): -1 or the number of "
            "experts, which mean the same.");
  table
      .add("moe-balance-scope", &moe_balance_scope,
           "Whose loads the balance loss is of: the micro-batch's, as the reference; those of this "
           "rank's micro-batches of the update so far; or those of all ranks' (arXiv 2501.11873).")
      .choices({"micro-batch", "rank", "update"});
  table.add("use-moe-pad-mask", &use_moe_pad_mask, "Padding tokens take no place in an expert.");
  table.add(
      "recompute-experts", &recompute_experts,
      "Recomputes the experts' hidden activations in the backward pass instead of keeping them.");
  describe_validate_routing(table, validate_routing);
  table.for_tasks(tasks.decoder);
  table
      .add("decoder-moe-freq", &decoder_moe_freq,
           "As moe-freq, for the decoder; the larger of the two holds.")
      .at_least(0);
  table
      .add("alternate-decoder-ffn-embed-dim", &alternate_decoder_ffn_embed_dim,
           "Above 0: the MoE layers become dense ones of this hidden width, for comparison.")
      .at_least(0);
  table.for_tasks(tasks.encoder);
  table
      .add("encoder-moe-freq", &encoder_moe_freq,
           "As moe-freq, for the encoder; the larger of the two holds.")
      .at_least(0);
  table
      .add("alternate-ffn-embed-dim", &alternate_ffn_embed_dim,
           "As alternate-decoder-ffn-embed-dim, of the encoder.")
      .at_least(0);
}

void describe_validate_routing(OptionTable& table, std::string& validate_routing) {
  table
      .add("validate-routing", &validate_routing,
           "How validation routes: as the reference (the most probable expert, no noise), as the "
           "current stage does, or "
           "both, one after the other.")
      .choices({"reference", "stage", "both"});
}

}  // namespace evomoe
