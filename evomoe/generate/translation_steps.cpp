#include "evomoe/generate/translation_steps.h"

#include <utility>

namespace evomoe {

TranslationSteps::TranslationSteps(EncoderDecoder model, const torch::Tensor& source_BS,
                                   const ForwardContext& context)
    : model_(std::move(model)), context_(context) {
  const torch::NoGradGuard no_grad;
  const auto source = source_BS.to(model_->device());
  const auto padding_BS = source.eq(model_->padding_index());
  if (padding_BS.any().item<bool>()) memory_.padding_BS = padding_BS;
  context_.padding_BS = memory_.padding_BS;
  memory_.x_BSD = model_->encode(source, context_).x_BSD;
  context_.padding_BS = torch::Tensor();  // hypotheses have none
}

torch::Tensor TranslationSteps::next(const torch::Tensor& token_N) {
  const torch::NoGradGuard no_grad;
  context_.cache = &cache_;
  const auto previous_N1 = token_N.unsqueeze(1).to(model_->device());
  const auto output = model_->decode(previous_N1, memory_, context_);
  return model_->log_probability(output.x_BSD.select(1, 0));
}

void TranslationSteps::reorder(const torch::Tensor& order_N) {
  const auto row_N = order_N.to(model_->device());
  cache_.select(row_N);
  memory_.x_BSD = memory_.x_BSD.index_select(0, row_N);
  if (memory_.padding_BS.defined()) memory_.padding_BS = memory_.padding_BS.index_select(0, row_N);
}

}  // namespace evomoe
