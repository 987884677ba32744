#include "evomoe/train/rank_sums.h"

#include <array>
#include <numeric>
#include <span>
#include <type_traits>
#include <vector>

namespace evomoe {
namespace {

/// Each of these calls `visit` with every number that ranks add, always in the same order.
template <typename Visit>
void for_each_sum(LossSums& sums, const Visit& visit) {
  for (auto* value : {&sums.loss, &sums.inner, &sums.nll, &sums.gate, &sums.z}) visit(*value);
  for (auto* count : {&sums.sample_size, &sums.tokens, &sums.sequences, &sums.batches,
                      &sums.predicted, &sums.correct})
    visit(*count);
  for (auto& row : sums.confusion) {
    for (auto& count : row) visit(count);
  }
  for (auto& [name, value] : sums.metrics) visit(value);
}

template <typename Visit>
void for_each_sum(BleuCounts& counts, const Visit& visit) {
  for (auto* orders : {&counts.matched, &counts.total}) {
    for (auto& count : *orders) visit(count);
  }
  visit(counts.system_length);
  visit(counts.reference_length);
}

/// Calls `visit` with every tensor there is in the statistics of a rank's own tokens.
template <typename Visit>
void for_each_tensor_of_tokens(RouterStats& stats, const Visit& visit) {
  for (auto* tensor : {&stats.load_E, &stats.active_E1, &stats.entropy_sum, &stats.dropped,
                       &stats.non_argmax, &stats.of_method}) {
    if (tensor->defined()) visit(*tensor);
  }
  for (auto& [name, value] : stats.reference) visit(value);
}

template <typename Sums>
std::vector<double> numbers_of(Sums& sums) {
  std::vector<double> numbers;
  for_each_sum(sums, [&](auto value) { numbers.push_back(static_cast<double>(value)); });
  return numbers;
}

template <typename Sums>
void set_numbers(Sums& sums, const std::vector<double>& numbers) {
  auto next = numbers.begin();
  for_each_sum(sums, [&](auto& value) {
    value = static_cast<std::remove_reference_t<decltype(value)>>(*next++);
  });
}

/// `count_P`: how many answers each rank has.
void gather_answers(LossSums& sums, std::span<const double> count_P, Communicator& communicator) {
  const auto own = count_P.begin() + communicator.rank();
  const auto total = std::accumulate(count_P.begin(), count_P.end(), 0.0);
  if (total == 0) return;
  // Each rank writes its answers into their place among zeros.
  std::vector<double> numbers(2 * static_cast<size_t>(total));
  auto place =
      numbers.begin() + 2 * static_cast<int64_t>(std::accumulate(count_P.begin(), own, 0.0));
  for (const auto& [target, answer] : sums.answers) {
    *place++ = target;
    *place++ = answer;
  }
  communicator.all_reduce_sum(numbers);
  sums.answers.clear();
  for (size_t i = 0; i < numbers.size(); i += 2)
    sums.answers.emplace_back(static_cast<float>(numbers[i]), static_cast<float>(numbers[i + 1]));
}

}  // namespace

void sum_over_ranks(LossSums& sums, Communicator& communicator) {
  auto numbers = numbers_of(sums);
  const auto added = numbers.size();
  numbers.resize(added + static_cast<size_t>(communicator.size()));
  numbers[added + static_cast<size_t>(communicator.rank())] =
      static_cast<double>(sums.answers.size());
  communicator.all_reduce_sum(numbers);
  set_numbers(sums, numbers);
  gather_answers(sums, std::span(numbers).subspan(added), communicator);
}

void forget(LossSums& sums) {
  for_each_sum(sums, [](auto& value) { value = 0; });
  sums.answers.clear();
}

void forget(RouterStats& stats) {
  // What experts here gave is that of other ranks' tokens, which count.
  for_each_tensor_of_tokens(stats, [](torch::Tensor& tensor) { tensor.zero_(); });
  stats.tokens = stats.assignments = 0;
}

void sum_over_ranks(LayerStats& layers, Communicator& communicator) {
  std::vector<torch::Tensor> tensors;
  std::vector<double> counts;
  for (auto& [layer, stats] : layers) {
    for_each_tensor_of_tokens(stats,
                              [&](const torch::Tensor& of_all) { tensors.push_back(of_all); });
    if (stats.output_sum_ED1.defined()) tensors.push_back(stats.output_sum_ED1);
    for (const auto count : {stats.tokens, stats.assignments})
      counts.push_back(static_cast<double>(count));
  }
  communicator.all_reduce_sum(tensors);
  communicator.all_reduce_sum(counts);
  auto next = counts.begin();
  for (auto& [layer, stats] : layers) {
    stats.tokens = static_cast<int64_t>(*next++);
    stats.assignments = static_cast<int64_t>(*next++);
  }
}

void sum_over_ranks(BleuCounts& counts, Communicator& communicator) {
  auto numbers = numbers_of(counts);
  communicator.all_reduce_sum(numbers);
  set_numbers(counts, numbers);
}

}  // namespace evomoe
