#include "evomoe/hub/hub_shape.h"

#include <algorithm>

#include "evomoe/hub/hub_activation.h"

namespace evomoe {

void read_hub_shape(HubFields& fields, const HubArchitecture& architecture, TrainOptions& options) {
  const auto& names = architecture.shape;
  auto& model = options.model;
  auto& decoder = model.decoder;
  decoder.layers = fields.required_integer(names.layers);
  decoder.embed_dim = fields.required_integer(names.width);
  decoder.attention_heads = fields.required_integer(names.heads);
  const auto& width = architecture.experts ? architecture.expert_width_field : names.ffn_width;
  decoder.ffn_embed_dim = names.ffn_width_required
                              ? fields.required_integer(width)
                              : fields.integer(width).value_or(4 * *decoder.embed_dim);
  const auto positions = fields.required_integer(names.positions);
  model.max_target_positions = positions;
  options.task.tokens_per_sample = std::min(options.task.tokens_per_sample, positions);
  model.activation_fn = read_hub_activation(fields, names.activation, names.default_activation);
}

void add_hub_shape(const HubArchitecture& architecture, const GptOptions& gpt,
                   nlohmann::ordered_json& config) {
  const auto& names = architecture.shape;
  config[names.width] = gpt.embed_dim;
  config[names.ffn_width] = gpt.ffn_dim;
  config[names.layers] = gpt.layers;
  config[names.heads] = gpt.heads;
  config[names.positions] = gpt.max_positions;
  config[names.activation] = hub_activation(gpt.activation);
}

}  // namespace evomoe
