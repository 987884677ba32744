#include "evomoe/models/roberta.h"

#include <ATen/record_function.h>

#include "evomoe/base/error.h"
#include "evomoe/models/initialisation.h"
#include "evomoe/models/parameter_kinds.h"
#include "evomoe/ops/activation.h"
#include "evomoe/ops/philox_dropout.h"

namespace evomoe {
namespace {

constexpr double kInitialSpread = 0.02;

torch::Tensor pooled(const torch::Tensor& x, const std::string& activation) {
  if (activation == "tanh") return torch::tanh(x);
  if (activation == "relu") return torch::relu(x);
  if (activation == "gelu") return torch::gelu(x);
  if (activation == "linear") return x;
  fail_usage("--pooler-activation-fn {}: allowed are tanh, relu, gelu, linear", activation);
}

}  // namespace

RobertaOptions::RobertaOptions() {
  half = "encoder";
  causal = false;
  norm_first = false;
  embedding_norm = true;
  final_norm = false;
  positions = PositionKind::kLearned;
  scale_embedding = false;
  zero_padding = true;
  activation = "gelu";
}

void RobertaOptions::validate() const {
  TransformerStackOptions::validate();
  for (const auto& head : heads_of_sentences) {
    if (head.classes < 1) fail_usage("--num-classes {}: it must be at least 1", head.classes);
    check_dropout("--pooler-dropout", head.dropout);
    pooled(torch::zeros({1}), head.activation);
  }
}

RobertaImpl::RobertaImpl(const RobertaOptions& options) : options_(options) {
  options_.validate();
  const auto V = options.vocab_size, D = options.embed_dim;
  auto encoder = register_module("encoder", std::make_shared<torch::nn::Module>());
  encoder_ = encoder->register_module("sentence_encoder", TransformerStack(options_));
  auto head = encoder->register_module("lm_head", module_of_kind(ParameterKind::kHead));
  lm_bias_V_ = head->register_parameter("bias", torch::zeros({V}));
  if (options.untie_weights) {
    lm_weight_VD_ = head->register_parameter("weight", torch::zeros({V, D}));
  } else {
    encoder_->set_tied();
  }
  lm_dense_ = head->register_module("dense", Linear(D, D));
  lm_layer_norm_ = head->register_module("layer_norm", Norm(D, options_.norm));
  if (options.heads_of_sentences.empty()) return;
  auto heads = register_module("classification_heads", module_of_kind(ParameterKind::kHead));
  for (const auto& of_head : options.heads_of_sentences) {
    auto module = heads->register_module(of_head.name, std::make_shared<torch::nn::Module>());
    Head made{of_head};
    made.dense = module->register_module("dense", Linear(D, D));
    made.out_proj = module->register_module("out_proj", Linear(D, of_head.classes));
    heads_.push_back(std::move(made));
  }
}

ModelOutput RobertaImpl::forward(const ModelInput& input, const ForwardContext& given) {
  RECORD_USER_SCOPE("forward");
  auto context = given;
  context.padding_BS = input.source_padding_BS;
  return encoder_->forward(input.source_BS, context);
}

torch::Tensor RobertaImpl::classify(const torch::Tensor& x_BSD, const std::string& name,
                                    const ForwardContext& context) {
  for (auto& head : heads_) {
    if (head.options.name != name) continue;
    auto noise = context.noise;
    noise.sequence_length = 1;
    const auto dropped = [&](const torch::Tensor& x, NoiseSite site) {
      return context.training ? philox_dropout(x, head.options.dropout, noise.at(0, site)) : x;
    };
    auto x_BD = dropped(x_BSD.select(1, 0), NoiseSite::kPoolerDropout);
    x_BD = pooled(head.dense->forward(x_BD), head.options.activation);
    return head.out_proj->forward(dropped(x_BD, NoiseSite::kPoolerHiddenDropout));
  }
  fail("the model has no classification head '{}' (--classification-head-name)", name);
}

const torch::Tensor& RobertaImpl::output_weight() const {
  return options_.untie_weights ? lm_weight_VD_ : encoder_->embedding();
}

torch::Tensor RobertaImpl::output_features(const torch::Tensor& x_ND) {
  return lm_layer_norm_->forward(
      activate(lm_dense_->forward(x_ND), parse_activation(options_.activation)));
}

void RobertaImpl::initialise(uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const auto kinds = parameter_kinds(*this);
  for (auto& item : named_parameters()) {
    auto& parameter = item.value();
    const auto& name = item.key();
    const auto kind = kinds.at(name);
    if (name.starts_with("classification_heads.")) continue;
    if (kind == ParameterKind::kNorm) continue;  // 1 and 0 already
    const bool weight = parameter.dim() > (kind == ParameterKind::kExpert ? 2 : 1);
    if (weight) {
      init_normal(parameter, kInitialSpread, seed, name);
    } else {
      parameter.zero_();
    }
    if (name.ends_with("embed_tokens.weight") || name.ends_with("embed_positions.weight"))
      parameter[options_.padding_index].zero_();
  }
  for (auto& head : heads_) {
    const auto name = "classification_heads." + head.options.name;
    init_linear(head.dense, seed, name + ".dense");
    init_linear(head.out_proj, seed, name + ".out_proj");
  }
}

std::vector<std::pair<int64_t, MoELayer>> RobertaImpl::moe_layers() const {
  return encoder_->moe_layers();
}

double RobertaImpl::training_flops(const ModelInput& input, const ModelOutput& output) const {
  // The heads see few tokens: masked ones, or one of each sequence. They are left out.
  const auto work = encoder_->work(input.source_BS.numel(), input.source_BS.size(1), output.stats);
  return 2 * (3 * work.forward + work.recomputed);
}

}  // namespace evomoe
