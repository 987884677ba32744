#include "evomoe/generate/ensemble_steps.h"

#include <algorithm>
#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/generate/token_candidates.h"

namespace evomoe {

torch::Tensor log_mean_probability(const std::vector<torch::Tensor>& log_probability_M) {
  if (log_probability_M.size() == 1) return log_probability_M.front();
  return torch::logsumexp(torch::stack(log_probability_M), 0) -
         std::log(static_cast<double>(log_probability_M.size()));
}

EnsembleSteps::EnsembleSteps(std::vector<std::unique_ptr<NextTokens>> models, double temperature)
    : models_(std::move(models)), temperature_(temperature) {
  EVOMOE_CHECK(!models_.empty(), "an ensemble needs at least one model");
}

int64_t EnsembleSteps::max_positions() const {
  int64_t positions = models_.front()->max_positions();
  for (const auto& model : models_) positions = std::min(positions, model->max_positions());
  return positions;
}

torch::Tensor EnsembleSteps::next(const torch::Tensor& token_N) {
  std::vector<torch::Tensor> log_probability_M;
  for (const auto& model : models_)
    log_probability_M.push_back(tempered(model->next(token_N), temperature_));
  return log_mean_probability(log_probability_M);
}

void EnsembleSteps::reorder(const torch::Tensor& order_N) {
  for (const auto& model : models_) model->reorder(order_N);
}

}  // namespace evomoe
