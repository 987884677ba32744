#include "evomoe/generate/language_model_steps.h"

#include <utility>

namespace evomoe {

LanguageModelSteps::LanguageModelSteps(Gpt model, const ForwardContext& context)
    : model_(std::move(model)), context_(context), device_(model_->parameters().front().device()) {}

torch::Tensor LanguageModelSteps::next(const torch::Tensor& token_N) {
  const torch::NoGradGuard no_grad;
  context_.cache = &cache_;
  const auto output = model_->forward(token_N.unsqueeze(1).to(device_), context_);
  return model_->log_probability(output.x_BSD.select(1, 0));
}

void LanguageModelSteps::reorder(const torch::Tensor& order_N) {
  cache_.select(order_N.to(device_));
}

}  // namespace evomoe
