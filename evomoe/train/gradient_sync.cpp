#include "evomoe/train/gradient_sync.h"

#include <ATen/record_function.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/optim/gradient_norm.h"

namespace evomoe {
namespace {

/// 25 MiB of float32, as in PyTorch's DDP.
constexpr int64_t kMostInBucket = 25 * (1 << 20) / 4;
constexpr size_t kNoLane = static_cast<size_t>(-1);

/// Calls a function when the gradient of a parameter has come.
class Arrival final : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit Arrival(std::function<void()> arrived) : arrived_(std::move(arrived)) {}
  void operator()(const torch::Tensor&) override { arrived_(); }

 private:
  std::function<void()> arrived_;
};

/// Writes the elements of a gradient into a matrix [ranks, columns] row by row, and zeros behind
/// them.
void put_into_rows(const torch::Tensor& gradient, torch::Tensor rows) {
  const auto flat = gradient.reshape({-1});
  const auto columns = rows.size(1), full = columns > 0 ? flat.numel() / columns : 0;
  rows.narrow(0, 0, full).copy_(flat.slice(0, 0, full * columns).view({full, columns}));
  if (full == rows.size(0)) return;
  const auto rest = rows.narrow(0, full, rows.size(0) - full);
  rest.zero_();
  const auto left = flat.numel() - full * columns;
  rest[0].slice(0, 0, left).copy_(flat.slice(0, full * columns));
}

}  // namespace

GradientSync::GradientSync(ParameterShards& shards, const RankGroups& ranks)
    : shards_(shards),
      ranks_(ranks),
      all_(same_ranks(*ranks.all)),
      replicas_(ranks.experts->size() > 1 ? same_ranks(*ranks.replicas) : all_),
      outside_(shards.settings().stage == 3 ? same_ranks(*ranks.all) : all_) {
  shards_.before_block_backward([this](int64_t block) { before_block_backward(block); });
  watch_parameters();
}

GradientSync::~GradientSync() {
  shards_.before_block_backward([](int64_t) {});
  for (const auto& tensor : watched_)
    torch::autograd::impl::set_post_acc_grad_hooks(tensor, nullptr);
}

void GradientSync::watch_parameters() {
  for (const auto& tensor : watched_)
    torch::autograd::impl::set_post_acc_grad_hooks(tensor, nullptr);
  watched_.clear();
  used_.resize(shards_.all().size());
  divide_into_lanes();
  for (size_t i = 0; i < shards_.all().size(); ++i) {
    if (bucket_of_[i].first == kNoLane) continue;
    watched_.push_back(shards_.all()[i].whole);
    torch::autograd::impl::set_post_acc_grad_hooks(
        watched_.back(), std::make_unique<Arrival>([this, i] { arrived(i); }));
  }
}

bool GradientSync::comes_late(size_t parameter) const {
  // A table that is the output projection as well gets the gradient of its rows last, beside
  // autograd (ops/tied_embedding.h).
  return !used_[parameter] || shards_.all()[parameter].kind == ParameterKind::kEmbedding;
}

bool GradientSync::waits_for_memory() const {
  return shards_.settings().stage == 2 && ranks_.experts->size() == 1;
}

int64_t GradientSync::elements_of(size_t parameter) const {
  const auto& shard = shards_.all()[parameter];
  return scatters() ? shard.row : shard.whole.numel();
}

void GradientSync::divide_into_lanes() {
  lanes_.clear();
  for (const auto& ranks : {all_, replicas_, outside_}) {
    const bool is_new =
        std::ranges::none_of(lanes_, [&](const Lane& lane) { return lane.ranks == ranks; });
    if (ranks->size() > 1 && is_new) lanes_.push_back({.ranks = ranks});
  }
  bucket_of_.assign(shards_.all().size(), {kNoLane, 0});
  for (size_t i = 0; i < shards_.all().size(); ++i) {
    const auto& shard = shards_.all()[i];
    if (!shard.whole.requires_grad()) continue;  // frozen
    const bool of_replicas = shards_.is_of_replicas(shard);
    const bool outside = !of_replicas && (shard.block < 0 || comes_late(i));
    const auto& ranks = of_replicas ? replicas_ : outside ? outside_ : all_;
    for (size_t lane = 0; lane < lanes_.size(); ++lane) {
      if (lanes_[lane].ranks != ranks) continue;
      lanes_[lane].members.push_back(i);
      bucket_of_[i].first = lane;
    }
  }
  for (auto& lane : lanes_) {
    fill_buckets(lane);
    for (size_t bucket = 0; bucket < lane.buckets.size(); ++bucket) {
      for (const auto i : lane.buckets[bucket].members) bucket_of_[i].second = bucket;
    }
  }
}

void GradientSync::fill_buckets(Lane& lane) const {
  const bool by_block = shards_.settings().stage == 3;
  auto order = lane.members;
  std::ranges::reverse(order);
  std::stable_partition(order.begin(), order.end(), [this](size_t i) { return !comes_late(i); });
  int64_t elements = 0;
  for (const auto i : order) {
    const auto& shard = shards_.all()[i];
    const auto type = [&](size_t of) { return shards_.all()[of].whole.scalar_type(); };
    const auto block = by_block && !comes_late(i) ? shard.block : -1;
    const auto numel = shard.whole.numel();
    if (lane.buckets.empty() || lane.buckets.back().at_the_end != comes_late(i) ||
        lane.buckets.back().block != block ||
        type(lane.buckets.back().members.front()) != type(i) || elements + numel > kMostInBucket) {
      lane.buckets.push_back({.block = block, .at_the_end = comes_late(i)});
      elements = 0;
    }
    lane.buckets.back().members.push_back(i);
    elements += numel;
  }
}

void GradientSync::begin_update(std::vector<bool> used) {
  RECORD_USER_SCOPE("zero gradients");
  // At first all are expected.
  if (std::ranges::find(used, true) == used.end()) used.assign(used.size(), true);
  if (used != used_) {
    used_ = std::move(used);
    divide_into_lanes();
  }
  for (const auto& shard : shards_.all()) {
    for (auto tensor : {shard.whole, shard.own}) tensor.mutable_grad() = torch::Tensor();
  }
}

void GradientSync::begin_backward(bool last) {
  wait_for_all();
  adds_ = !lanes_.empty() && (last || scatters());
  for (auto& lane : lanes_) {
    lane.started = lane.over = 0;
    for (auto& bucket : lane.buckets) bucket.missing = bucket.members.size();
  }
  shards_.begin_backward();
}

void GradientSync::arrived(size_t parameter) {
  if (!adds_) return;
  const auto [of_lane, of_bucket] = bucket_of_[parameter];
  auto& lane = lanes_[of_lane];
  EVOMOE_CHECK(of_bucket >= lane.started,
               "the gradient of '{}' came after it was sent to the other ranks",
               shards_.all()[parameter].name);
  --lane.buckets[of_bucket].missing;
  while (lane.started < lane.buckets.size()) {
    const auto& next = lane.buckets[lane.started];
    if (next.at_the_end || next.missing > 0) break;
    start_next(lane);
  }
}

void GradientSync::start_next(Lane& lane) {
  const torch::NoGradGuard no_grad;
  // What is over gives its memory back.
  while (lane.over < lane.started && lane.buckets[lane.over].operation->is_over())
    wait_for_next(lane);
  if (waits_for_memory()) {
    while (lane.over + 1 < lane.started) wait_for_next(lane);
  }
  auto& bucket = lane.buckets[lane.started++];
  const auto count = static_cast<int64_t>(bucket.members.size());
  int64_t width = 0;
  for (const auto i : bucket.members) width += elements_of(i);
  const auto options = shards_.all()[bucket.members.front()].whole.options().requires_grad(false);
  auto sent = torch::empty({scatters() ? lane.ranks->size() : 1, width + count}, options);
  int64_t at = 0;
  for (int64_t j = 0; j < count; ++j) {
    const auto i = bucket.members[static_cast<size_t>(j)];
    auto& gradient = shards_.all()[i].whole.mutable_grad();
    const auto rows = sent.narrow(1, at, elements_of(i));
    gradient.defined() ? put_into_rows(gradient, rows) : static_cast<void>(rows.zero_());
    sent.narrow(1, width + j, 1).fill_(gradient.defined() ? 1 : 0);
    gradient = torch::Tensor();
    at += elements_of(i);
  }
  if (scatters()) {
    bucket.sum = torch::empty({width + count}, options);
    bucket.sent = sent.view(-1);
    bucket.operation = lane.ranks->start_reduce_scatter_sum(bucket.sum, bucket.sent);
  } else {
    bucket.sum = sent.view(-1);
    bucket.operation = lane.ranks->start_all_reduce_sum(bucket.sum);
  }
}

void GradientSync::take_sum(Bucket& bucket) {
  const torch::NoGradGuard no_grad;
  const auto count = static_cast<int64_t>(bucket.members.size());
  const auto ranks_with_one =
      bucket.sum.slice(0, bucket.sum.numel() - count).to(torch::kFloat64).contiguous();
  const auto* with_one = ranks_with_one.const_data_ptr<double>();
  int64_t at = 0;
  for (int64_t j = 0; j < count; ++j) {
    const auto i = bucket.members[static_cast<size_t>(j)];
    const auto& shard = shards_.all()[i];
    const auto sum = bucket.sum.narrow(0, at, elements_of(i));
    at += elements_of(i);
    if (with_one[j] == 0) continue;
    auto own = shard.own;
    if (scatters()) {
      const auto part = sum.slice(0, 0, shard.end - shard.begin);
      auto& gradient = own.mutable_grad();
      gradient.defined() ? static_cast<void>(gradient.add_(part))
                         : static_cast<void>(gradient = part);
    } else {
      auto whole = shard.whole;
      whole.mutable_grad() = sum.view(whole.sizes());
      if (shard.divided) own.mutable_grad() = shard.part_of(whole.grad());
    }
  }
  bucket.sent = bucket.sum = torch::Tensor();
}

void GradientSync::wait_for_next(Lane& lane) {
  auto& bucket = lane.buckets[lane.over++];
  bucket.operation->wait();
  bucket.operation.reset();
  take_sum(bucket);
}

void GradientSync::wait_for_all() {
  for (auto& lane : lanes_) {
    while (lane.over < lane.started) wait_for_next(lane);
  }
}

void GradientSync::before_block_backward(int64_t block) {
  if (!adds_) return;
  for (auto& lane : lanes_) {
    if (lane.ranks == outside_) continue;
    while (lane.started < lane.buckets.size() && lane.buckets[lane.started].block > block)
      start_next(lane);
    // Two blocks' gradients are on their way, no more.
    while (lane.over < lane.started && lane.buckets[lane.over].block > block + 1)
      wait_for_next(lane);
  }
}

void GradientSync::end_backward() {
  shards_.end_backward();
  if (!adds_) return;
  for (auto& lane : lanes_) {
    while (lane.started < lane.buckets.size()) start_next(lane);
  }
  adds_ = false;
}

void GradientSync::finish() {
  RECORD_USER_SCOPE("gradients of other ranks");
  wait_for_all();
  shards_.end_update();
}

double GradientSync::sum_of_squares() const {
  const auto all = shards_.own();
  if (shards_.settings().stage > 0) {
    // The ranks own different elements.
    double squares = gradient_squares(all);
    ranks_.all->all_reduce_sum(squares);
    return squares;
  }
  if (ranks_.experts->size() == 1) return gradient_squares(all);
  std::vector<NamedParameter> everywhere, experts;
  for (size_t i = 0; i < all.size(); ++i)
    (shards_.is_of_replicas(shards_.all()[i]) ? experts : everywhere).push_back(all[i]);
  double of_experts = gradient_squares(experts);
  ranks_.experts->all_reduce_sum(of_experts);
  return gradient_squares(everywhere) + of_experts;
}

}  // namespace evomoe
