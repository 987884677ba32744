#include "evomoe/train/parameter_shards.h"

#include <ATen/native/Resize.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <utility>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

/// Larger parameters travel alone, straight to where they belong; smaller ones together.
constexpr int64_t kSmallestAlone = int64_t{1} << 16;  // elements

c10::StorageImpl* storage_of(const torch::Tensor& tensor) {
  return tensor.unsafeGetTensorImpl()->unsafe_storage().unsafeGetStorageImpl();
}

void set_elements(const torch::Tensor& tensor, int64_t count) {
  at::native::resize_bytes_cpu(storage_of(tensor),
                               static_cast<size_t>(count) * tensor.element_size());
}

/// Adds padding behind the elements of a parameter. Returns its memory with the padding, as a
/// tensor that does not count its changes as changes of the parameter: autograd would refuse to go
/// through a block whose weights came back in between.
torch::Tensor padded_memory(const torch::Tensor& tensor, int64_t count) {
  EVOMOE_CHECK(tensor.is_cpu() && tensor.is_contiguous() && tensor.storage_offset() == 0,
               "only parameters on the CPU with memory of their own can be divided among ranks");
  if (static_cast<int64_t>(storage_of(tensor)->nbytes()) != count * tensor.element_size())
    set_elements(tensor, count);
  auto memory = torch::empty({0}, tensor.options().requires_grad(false));
  memory.set_(tensor.storage(), 0, {count}, {1});
  if (count > tensor.numel()) memory.slice(0, tensor.numel()).zero_();
  return memory;
}

/// Whether the parameter `name` belongs to the module `owner`.
bool is_in(const std::string& name, const std::string& owner) {
  return name.size() > owner.size() && name.starts_with(owner) && name[owner.size()] == '.';
}

}  // namespace

torch::Tensor ParameterShard::part_of(const torch::Tensor& of_all) const {
  return divided ? of_all.reshape({-1}).slice(0, begin, end) : of_all;
}

torch::Tensor ParameterShard::gathered(const torch::Tensor& part) const {
  if (!divided) return part;
  const torch::NoGradGuard no_grad;
  const auto padded = torch::zeros({row}, part.options());
  padded.slice(0, 0, end - begin).copy_(part);
  const auto all = torch::empty({ranks->size() * row}, part.options());
  ranks->start_all_gather(all, padded)->wait();
  return all.slice(0, 0, whole.numel()).view(whole.sizes());
}

/// Parameters on their way from the ranks that own their parts.
struct ParameterShards::Transfer {
  std::vector<size_t> members;
  torch::Tensor all;   ///< of several: [ranks, elements of all members]; undefined: of one
  torch::Tensor part;  ///< this rank's, until the operation is over
  std::unique_ptr<PendingOperation> operation;
};

/// Parameters that are gathered and freed together.
struct ParameterShards::Unit {
  enum class State { kWhole, kGathering, kFree };
  std::vector<size_t> members;
  State state = State::kWhole;
  std::vector<Transfer> transfers;
};

/// What a block tells of itself.
class ParameterShards::OfBlock final : public BlockWatcher {
 public:
  OfBlock(ParameterShards& shards, int64_t block) : shards_(shards), block_(block) {}
  void before_forward() override { shards_.before_forward(block_); }
  void after_forward() override { shards_.after_forward(block_); }
  void before_backward() override { shards_.backward_down_to(block_); }

 private:
  ParameterShards& shards_;
  int64_t block_;
};

ParameterShards::ParameterShards(torch::nn::Module& model,
                                 const std::vector<NamedParameter>& parameters,
                                 const RankGroups& ranks, bool shares_experts,
                                 ZeroSettings settings)
    : settings_(settings) {
  if (ranks.all->size() == 1) settings_.stage = 0;
  const bool divides = settings_.stage > 0;
  all_ = divides ? same_ranks(*ranks.all) : ranks.all;
  replicas_ = ranks.experts->size() == 1 ? all_
              : divides                  ? same_ranks(*ranks.replicas)
                                         : ranks.replicas;
  for (const auto& item : model.named_modules("", /*include_self=*/false)) {
    if (const auto block = std::dynamic_pointer_cast<TransformerBlockImpl>(item.value()))
      blocks_.emplace_back(item.key(), TransformerBlock(block));
  }
  for (size_t i = 0; i <= blocks_.size(); ++i) units_.push_back(std::make_unique<Unit>());
  for (const auto& parameter : parameters) {
    const bool of_replicas = parameter.kind == ParameterKind::kExpert && shares_experts;
    index_[parameter.name] = shards_.size();
    shards_.push_back(make_shard(parameter, of_replicas ? replicas_ : all_));
    add_to_unit(shards_.size() - 1);
  }
  if (settings_.stage < 3) return;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    of_blocks_.push_back(std::make_unique<OfBlock>(*this, static_cast<int64_t>(i)));
    blocks_[i].second->set_watcher(of_blocks_.back().get());
  }
}

ParameterShards::~ParameterShards() {
  for (auto& [name, block] : blocks_) block->set_watcher(nullptr);
}

ParameterShard ParameterShards::make_shard(const NamedParameter& parameter,
                                           const std::shared_ptr<Communicator>& ranks) const {
  ParameterShard shard;
  shard.name = parameter.name;
  shard.kind = parameter.kind;
  shard.whole = shard.own = parameter.tensor;
  shard.ranks = ranks;
  shard.end = parameter.tensor.numel();
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (is_in(parameter.name, blocks_[i].first)) shard.block = static_cast<int64_t>(i);
  }
  shard.divided = settings_.stage > 0 && ranks->size() > 1;
  if (!shard.divided) return shard;
  const torch::NoGradGuard no_grad;
  const int64_t size = ranks->size(), numel = parameter.tensor.numel();
  shard.row = (numel + size - 1) / size;
  shard.begin = std::min(ranks->rank() * shard.row, numel);
  shard.end = std::min(shard.begin + shard.row, numel);
  shard.rows = padded_memory(parameter.tensor, size * shard.row);
  if (settings_.stage == 3) {
    shard.row_alone = torch::zeros({shard.row}, shard.rows.options());
    shard.own = shard.row_alone.slice(0, 0, shard.end - shard.begin);
  } else {
    shard.own = shard.rows.slice(0, shard.begin, shard.end);
  }
  return shard;
}

int64_t ParameterShards::last_block() const { return static_cast<int64_t>(blocks_.size()) - 1; }
ParameterShards::Unit& ParameterShards::block(int64_t index) {
  return *units_.at(static_cast<size_t>(index));
}
ParameterShards::Unit& ParameterShards::outside() { return *units_.back(); }

void ParameterShards::add_to_unit(size_t index) {
  const auto& shard = shards_[index];
  // In stages 1 and 2 all ranks have what is frozen, and it does not change.
  if (!shard.divided || (settings_.stage < 3 && !shard.whole.requires_grad())) return;
  (shard.block < 0 ? outside() : block(shard.block)).members.push_back(index);
}

const ParameterShard& ParameterShards::of(const torch::Tensor& whole) const {
  const auto found = std::ranges::find_if(
      shards_, [&](const ParameterShard& shard) { return shard.whole.is_same(whole); });
  EVOMOE_CHECK(found != shards_.end(), "this tensor is no parameter of the model");
  return *found;
}

std::vector<NamedParameter> ParameterShards::own() const {
  std::vector<NamedParameter> own;
  for (const auto& shard : shards_) own.push_back({shard.name, shard.own, shard.kind});
  return own;
}

void ParameterShards::replace(const std::string& name, torch::Tensor whole) {
  EVOMOE_CHECK(!is_divided(), "'{}' cannot be replaced while it is divided among ranks", name);
  const auto index = index_.at(name);
  shards_[index] = make_shard({name, std::move(whole), shards_[index].kind}, replicas_);
  auto& members = (shards_[index].block < 0 ? outside() : block(shards_[index].block)).members;
  std::erase(members, index);
  add_to_unit(index);
}

void ParameterShards::start(Unit& unit) {
  if (unit.state != Unit::State::kFree) return;
  unit.state = Unit::State::kGathering;
  const torch::NoGradGuard no_grad;
  std::vector<std::shared_ptr<Communicator>> groups = {all_};
  if (replicas_ != all_) groups.push_back(replicas_);
  for (const auto& ranks : groups) {
    Transfer together;
    int64_t elements = 0;
    for (const auto i : unit.members) {
      auto& shard = shards_[i];
      if (shard.ranks != ranks) continue;
      if (settings_.stage == 3) set_elements(shard.whole, shard.rows.numel());
      if (shard.row < kSmallestAlone) {
        together.members.push_back(i);
        elements += shard.row;
        continue;
      }
      Transfer alone{.members = {i}};
      alone.part = settings_.stage == 3
                       ? shard.row_alone
                       : shard.rows.narrow(0, ranks->rank() * shard.row, shard.row).clone();
      alone.operation = ranks->start_all_gather(shard.rows, alone.part);
      unit.transfers.push_back(std::move(alone));
    }
    if (together.members.empty()) continue;
    std::vector<torch::Tensor> parts;
    for (const auto i : together.members) {
      const auto& shard = shards_[i];
      parts.push_back(settings_.stage == 3
                          ? shard.row_alone
                          : shard.rows.narrow(0, ranks->rank() * shard.row, shard.row));
    }
    together.part = torch::cat(parts);
    together.all = torch::empty({ranks->size(), elements}, together.part.options());
    together.operation = ranks->start_all_gather(together.all.view(-1), together.part);
    unit.transfers.push_back(std::move(together));
  }
}

void ParameterShards::wait(Unit& unit) {
  start(unit);
  if (unit.state != Unit::State::kGathering) return;
  RECORD_USER_SCOPE("gather parameters");
  const torch::NoGradGuard no_grad;
  for (auto& transfer : unit.transfers) {
    transfer.operation->wait();
    if (!transfer.all.defined()) continue;
    int64_t at = 0;
    for (const auto i : transfer.members) {
      auto& shard = shards_[i];
      shard.rows.view({-1, shard.row}).copy_(transfer.all.narrow(1, at, shard.row));
      at += shard.row;
    }
  }
  unit.transfers.clear();
  unit.state = Unit::State::kWhole;
}

void ParameterShards::free(Unit& unit) {
  if (unit.state == Unit::State::kGathering) wait(unit);
  if (unit.state == Unit::State::kFree) return;
  for (const auto i : unit.members) set_elements(shards_[i].whole, 0);
  unit.state = Unit::State::kFree;
}

void ParameterShards::share_update() {
  if (settings_.stage != 1 && settings_.stage != 2) return;
  Unit* before = nullptr;
  for (auto& unit : units_) {
    unit->state = Unit::State::kFree;
    start(*unit);
    if (before != nullptr) wait(*before);
    before = unit.get();
  }
  if (before != nullptr) wait(*before);
}

void ParameterShards::divide() {
  if (settings_.stage < 3 || is_divided()) return;
  const torch::NoGradGuard no_grad;
  for (auto& shard : shards_) {
    if (shard.divided) shard.own.copy_(shard.rows.slice(0, shard.begin, shard.end));
  }
  for (auto& unit : units_) free(*unit);
  phase_ = Phase::kDivided;
}

void ParameterShards::make_whole(bool with_values) {
  if (!is_divided()) return;
  for (auto& unit : units_) {
    if (with_values) {
      wait(*unit);
    } else {
      for (const auto i : unit->members) set_elements(shards_[i].whole, shards_[i].rows.numel());
      unit->state = Unit::State::kWhole;
    }
  }
  phase_ = Phase::kWhole;
}

void ParameterShards::begin_forward() {
  if (settings_.stage < 3) return;
  divide();
  start(outside());
  if (last_block() >= 0) start(block(0));
  wait(outside());
  phase_ = Phase::kForward;
  next_ = 0;
}

void ParameterShards::before_forward(int64_t index) {
  if (phase_ == Phase::kWhole || holds_all_) return;
  if (phase_ == Phase::kBackward) return backward_down_to(index);  // its activations are recomputed
  if (evaluates_ && index == 0) next_ = 0;
  EVOMOE_CHECK(phase_ == Phase::kForward && index == next_,
               "block {} of a model whose parameters are divided among ranks (--zero-stage 3) is "
               "to compute out of turn",
               index);
  wait(block(index));
  if (index < last_block()) start(block(index + 1));
  ++next_;
}

void ParameterShards::after_forward(int64_t index) {
  if (phase_ != Phase::kForward || holds_all_) return;
  // The last block is the first one of the backward pass.
  if (evaluates_ || (!settings_.keep_whole && index < last_block())) free(block(index));
}

void ParameterShards::begin_backward() {
  if (settings_.stage < 3) return;
  phase_ = Phase::kBackward;
  next_ = last_block();
}

void ParameterShards::backward_down_to(int64_t index) {
  if (phase_ != Phase::kBackward) return;
  for (; next_ >= index; --next_) {
    before_block_backward_(next_);
    wait(block(next_));
    if (next_ < last_block()) free(block(next_ + 1));
    if (next_ > 0) start(block(next_ - 1));
  }
}

void ParameterShards::end_backward() {
  if (settings_.stage < 3) return;
  backward_down_to(0);
  if (last_block() >= 0) free(block(0));
  phase_ = Phase::kDivided;
}

void ParameterShards::end_update() {
  if (is_divided()) free(outside());
}

void ParameterShards::before_block_backward(std::function<void(int64_t block)> hook) {
  before_block_backward_ = std::move(hook);
}

void ParameterShards::begin_evaluation(bool all_blocks) {
  if (!is_divided()) return;
  wait(outside());
  if (all_blocks) {
    for (auto& unit : units_) wait(*unit);
  }
  phase_ = Phase::kForward;
  evaluates_ = true;
  holds_all_ = all_blocks;
}

void ParameterShards::end_evaluation() {
  if (!evaluates_) return;
  for (auto& unit : units_) free(*unit);
  phase_ = Phase::kDivided;
  evaluates_ = holds_all_ = false;
}

}  // namespace evomoe
