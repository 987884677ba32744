#include "evomoe/models/gpt.h"

#include <ATen/record_function.h>

#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/models/initialisation.h"
#include "evomoe/models/parameter_kinds.h"

namespace evomoe {

GptImpl::GptImpl(const GptOptions& options) : options_(options) {
  decoder_ = register_module("decoder", TransformerStack(options_));
  if (options.adaptive_softmax.bands.used()) {
    adaptive_softmax_ = decoder_->register_module(
        "adaptive_softmax", AdaptiveSoftmax(options.adaptive_softmax, options.vocab_size,
                                            options.embed_dim, decoder_->adaptive_input()));
  } else if (options.tie_embeddings) {
    if (options.adaptive_input.used()) {
      fail_usage(
          "--share-decoder-input-output-embed and --adaptive-input exclude each other; for "
          "shared tables use --adaptive-softmax-cutoff with --tie-adaptive-weights");
    }
    decoder_->set_tied();
  } else {
    output_projection_ =
        decoder_->register_module("output_projection", module_of_kind(ParameterKind::kHead))
            ->register_parameter("weight", torch::zeros({options.vocab_size, options.embed_dim}));
  }
}

ModelOutput GptImpl::forward(const torch::Tensor& token_BS, const ForwardContext& context) {
  RECORD_USER_SCOPE("forward");
  return decoder_->forward(token_BS, context);
}

ModelOutput GptImpl::forward(const ModelInput& input, const ForwardContext& given) {
  auto context = given;
  context.padding_BS = input.source_padding_BS;
  context.segment_BS = input.segment_BS;
  return forward(input.source_BS, context);
}

TokenLoss GptImpl::token_loss(const torch::Tensor& x_ND, const torch::Tensor& target_N,
                              const TokenLossOptions& options) {
  if (!adaptive_softmax_) return Model::token_loss(x_ND, target_N, options);
  if (options.label_smoothing != 0 || options.count_correct) {
    fail_usage(
        "--label-smoothing and --report-accuracy do not go with adaptive softmax; use "
        "--criterion adaptive_loss");
  }
  return adaptive_softmax_->loss(x_ND, target_N, options);
}

torch::Tensor GptImpl::log_probability(const torch::Tensor& x_ND) {
  return adaptive_softmax_ ? adaptive_softmax_->log_probability(x_ND)
                           : Model::log_probability(x_ND);
}

torch::Tensor GptImpl::log_probability_of(const torch::Tensor& x_ND,
                                          const torch::Tensor& target_N) {
  return adaptive_softmax_ ? adaptive_softmax_->log_probability_of(x_ND, target_N)
                           : Model::log_probability_of(x_ND, target_N);
}

const torch::Tensor& GptImpl::output_weight() const {
  EVOMOE_CHECK(!adaptive_softmax_, "a model with adaptive softmax has no single output projection");
  return options_.tie_embeddings ? decoder_->embedding() : output_projection_;
}

void GptImpl::initialise(uint64_t seed) {
  decoder_->initialise(seed, "decoder");
  if (adaptive_softmax_) adaptive_softmax_->initialise(seed, "decoder.adaptive_softmax");
  if (output_projection_.defined()) {
    init_normal(output_projection_, 1.0 / std::sqrt(static_cast<double>(options_.embed_dim)), seed,
                "decoder.output_projection.weight");
  }
}

std::vector<std::pair<int64_t, MoELayer>> GptImpl::moe_layers() const {
  return decoder_->moe_layers();
}

double GptImpl::training_flops(const ModelInput& input, const ModelOutput& output) const {
  const auto tokens = input.source_BS.numel();
  const auto work = decoder_->work(tokens, input.source_BS.size(1), output.stats);
  const auto projection =
      static_cast<double>(tokens) * static_cast<double>(options_.vocab_size * options_.embed_dim);
  return 2 * (3 * (work.forward + projection) + work.recomputed);
}

}  // namespace evomoe
