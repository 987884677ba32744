#include "evomoe/loading/resume.h"

#include <fmt/ranges.h>

#include <map>
#include <set>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/config/option_table.h"
#include "evomoe/loading/starting_weights.h"
#include "evomoe/loading/stored_state.h"
#include "evomoe/routing/registry.h"
#include "evomoe/train/load_into.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/settings.h"
#include "evomoe/train/task.h"
#include "evomoe/train/trainer.h"

namespace evomoe {
namespace {

template <typename T>
std::string text(const T& value) {
  return fmt::format("{}", value);
}

std::string shown(const nlohmann::json& value) {
  if (value.is_null()) return "not given";
  return value.is_string() ? value.get<std::string>() : json_text(value);
}

/// The flags that make an encoder or a decoder; `half` of a pair.
void add_stack(OptionValues& values, const TransformerStackOptions& stack, bool half = false) {
  const auto add = [&](const std::string& name, const std::string& value) {
    values.emplace_back(stack.half + "-" + name, value);
  };
  add("layers", text(stack.layers));
  add("embed-dim", text(stack.embed_dim));
  add("ffn-embed-dim", text(stack.ffn_dim));
  add("attention-heads", text(stack.heads));
  add("learned-pos", text(stack.positions == PositionKind::kLearned));
  add("normalize-before", text(stack.norm_first));
  values.emplace_back((half ? stack.half + "-" : "") + "moe-freq", text(stack.moe_freq));
  if (stack.moe_freq == 0) return;
  values.emplace_back("moe-first-dense-layers", text(stack.first_dense_layers));
  values.emplace_back(
      stack.half == "decoder" ? "alternate-decoder-ffn-embed-dim" : "alternate-ffn-embed-dim",
      text(stack.dense_ffn_dim_of_moe_layers));
}

/// The flags that make the model, each with the value that it has after the architecture's
/// defaults.
OptionValues model_values(const TrainOptions& options) {
  constexpr int64_t kSymbols = Dictionary::kSpecials;
  OptionValues values = {{"task", options.task.task}};
  const auto stacks = stack_options(options, Vocabulary::of_one(kSymbols, Dictionary::kPad),
                                    /*shared_expert=*/false);
  for (const auto& half : stacks) add_stack(values, half, /*half=*/stacks.size() > 1);
  const auto of_family = family_of(options).values(options);
  values.insert(values.end(), of_family.begin(), of_family.end());
  const auto& stack = stacks.back();
  values.emplace_back("activation-fn", stack.activation);
  values.emplace_back("no-token-positional-embeddings",
                      text(stack.positions == PositionKind::kNone));
  values.emplace_back("no-scale-embedding", text(!stack.scale_embedding));
  values.emplace_back("layernorm-embedding", text(stack.embedding_norm));
  if (has_experts(options)) {
    for (const auto& half : stacks) {
      if (half.moe_freq == 0) continue;
      values.emplace_back("moe-expert-hidden-dim", text(half.expert_dim()));
      break;  // both halves have the same one, if it is given
    }
    values.emplace_back("moe-shared-expert-hidden-dim", text(stack.shared_expert_dim));
    const auto& router = stack.moe.router;
    values.emplace_back("moe-expert-count", text(router.num_experts));
    values.emplace_back("moe-router", router.method);
    auto of_methods = router.of_methods;
    OptionTable table("train", "");
    describe_router_options(table, of_methods);
    for (const auto& option : table.options()) {
      if (option->is_shaping_model()) values.emplace_back(option->name(), shown(option->value()));
    }
  }
  return values;
}

/// What the architecture decides where it is not given, and the model could be trained with
/// another value of.
OptionValues training_values(const TrainOptions& options) {
  constexpr int64_t kSymbols = Dictionary::kSpecials;
  const auto stack =
      stack_options(options, {kSymbols, kSymbols, Dictionary::kPad}, /*shared_expert=*/false)
          .front();
  return {{"dropout", text(stack.dropout)},
          {"attention-dropout", text(stack.attention_dropout)},
          {"activation-dropout", text(stack.activation_dropout)}};
}

/// As kDataOptions: they decide which items are left out.
OptionValues position_values(const TrainOptions& options) {
  return {{family_of(options).positions_option(), text(longest_item(options))},
          {"max-source-positions", text(longest_source(options))}};
}

/// Other values make other batches, so that "the first 100 batches are done" means something else.
/// A task adds its own (Task::batch_options).
const std::set<std::string> kDataOptions = {"tokens-per-sample", "sample-break-mode",
                                            "max-tokens",        "batch-size",
                                            "train-subset",      "required-batch-size-multiple",
                                            "curriculum",        "seed"};

/// Groups of options that change the numbers; the others are about this call, files and the log.
const std::set<std::string> kGroups = {"task",      "model",     "moe",
                                       "evolution", "criterion", "optimization"};

struct Differences {
  std::vector<std::string> model, data, other;
};

bool agrees_with_spawn(bool shared_expert, const TrainOptions& now, int64_t completed_updates) {
  const auto last_shared = now.evolution.shared_expert_updates;
  // The spawn belongs to the update after the last shared one, so at that count both are possible.
  return shared_expert ? completed_updates <= last_shared && last_shared > 0
                       : completed_updates >= last_shared;
}

/// Whether a new run with the options `now` can begin with the checkpoint's weights.
bool can_begin_with(const Checkpoint& checkpoint, const TrainOptions& now) {
  const bool upcycle = has_experts(now) && is_dense(checkpoint.model);
  const bool shared = upcycle || checkpoint.state.evolution.shared_expert;
  if (has_experts(now) && !upcycle && !agrees_with_spawn(shared, now, /*completed_updates=*/0))
    return false;
  const auto model = make_model(now, stored_vocabulary(checkpoint.state.model), shared);
  const auto state = named_state(*model);
  return fits_into(state, starting_state(checkpoint.model, {state.begin(), state.end()}));
}

Differences differences(TrainOptions stored, TrainOptions now) {
  Differences found;
  std::set<std::string> compared = {"arch"};
  const auto compare = [&](const OptionValues& values_were, const OptionValues& values,
                           std::vector<std::string>& differing) {
    const std::map<std::string, std::string> value_is(values.begin(), values.end());
    for (const auto& [name, was] : values_were) {
      compared.insert(name);
      const auto is = value_is.find(name);
      // What only one of the models has follows from something else that differs.
      if (is != value_is.end() && was != is->second)
        differing.push_back(fmt::format("--{} {} -> {}", name, was, is->second));
    }
  };
  compare(model_values(stored), model_values(now), found.model);
  compare(training_values(stored), training_values(now), found.other);
  compare(position_values(stored), position_values(now), found.data);
  // --moe-freq is that of both halves.
  compared.insert({"moe-freq", "encoder-moe-freq", "decoder-moe-freq"});
  auto data_options = kDataOptions;
  for (auto& name : find_task(now.task.task).batch_options()) data_options.insert(std::move(name));
  const auto of_routers = router_option_names();
  OptionTable stored_table("train", ""), now_table("train", "");
  stored.describe(stored_table);
  now.describe(now_table);
  for (size_t i = 0; i < now_table.options().size(); ++i) {
    const auto& option = *now_table.options()[i];
    const bool of_data = data_options.contains(option.name());
    const auto was = stored_table.options()[i]->value(), is = option.value();
    if (was == is || compared.contains(option.name())) continue;
    if (!of_data && !kGroups.contains(option.group()) && !of_routers.contains(option.name()))
      continue;
    (of_data ? found.data : found.other)
        .push_back(fmt::format("--{} {} -> {}", option.name(), shown(was), shown(is)));
  }
  return found;
}

/// What `now` is compared with: where nothing grows any more, the model that the checkpoint holds.
TrainOptions compared_options(const RunState& state, const TrainOptions& now) {
  return now.evolution.growth_experts.empty() ? stored_model_options(state) : stored_options(state);
}

}  // namespace

std::string check_resume(const Checkpoint& checkpoint, const TrainOptions& now,
                         int64_t training_items, const std::filesystem::path& path) {
  const auto found = differences(compared_options(checkpoint.state, now), now);
  EVOMOE_CHECK(
      found.model.empty(),
      "{}: it holds another model than these options make ({}); use the values of that "
      "run, {}",
      path.string(), fmt::join(found.model, ", "),
      can_begin_with(checkpoint, now)
          ? "another --save-dir for a new one, or --finetune-from-model to start a new run "
            "from its weights"
          : "or another --save-dir for a new one; its weights do not fit the model of these "
            "options");
  const auto& data = checkpoint.state.data;
  if (data.offset > 0 && !now.checkpoint.reset_dataloader) {
    EVOMOE_CHECK(
        found.data.empty(),
        "{}: it was written after {} batches of epoch {}, and these options make other "
        "batches ({}); use the values of that run, or begin with the start of the epoch by "
        "--reset-dataloader",
        path.string(), data.offset, data.epoch, fmt::join(found.data, ", "));
    EVOMOE_CHECK(data.items == training_items,
                 "{}: the training data of its epoch had {} items, but that of {} has {}; use that "
                 "data, or begin with the start of the epoch by --reset-dataloader",
                 path.string(), data.items, now.data, training_items);
  }
  auto changed = found.data;
  changed.insert(changed.end(), found.other.begin(), found.other.end());
  return fmt::format("{}", fmt::join(changed, ", "));
}

std::string model_differences(const RunState& state, const TrainOptions& now) {
  auto stored = compared_options(state, now);
  // The tasks of one family have the same models.
  if (family_of_task(stored.task.task).name == family_of_task(now.task.task).name)
    stored.task.task = now.task.task;
  return fmt::format("{}", fmt::join(differences(std::move(stored), now).model, ", "));
}

void check_experts(int64_t experts, const TrainOptions& now, int64_t completed_updates,
                   const std::filesystem::path& checkpoint) {
  const auto all = now.moe.moe_expert_count;
  const auto wanted = experts_at(now.evolution, all, completed_updates);
  // A growth belongs to the update after, so that at its count both are possible.
  const auto before =
      completed_updates > 0 ? experts_at(now.evolution, all, completed_updates - 1) : wanted;
  EVOMOE_CHECK(
      experts == wanted || experts == before,
      "{}: its MoE layers have {} experts, but with --growth-experts {} --growth-updates {} "
      "and --moe-expert-count {} a run of {} updates has {}; use the values of that run, or "
      "leave the growth out and give the number that it has as --moe-expert-count",
      checkpoint.string(), experts, fmt::join(now.evolution.growth_experts, ","),
      fmt::join(now.evolution.growth_updates, ","), all, completed_updates, wanted);
}

void check_spawn(bool shared_expert, const TrainOptions& now, int64_t completed_updates,
                 const std::filesystem::path& checkpoint) {
  EVOMOE_CHECK(
      agrees_with_spawn(shared_expert, now, completed_updates),
      "{}: it holds {}, but with --shared-expert-updates {} a run of {} updates has {}; {}",
      checkpoint.string(), shared_expert ? "one shared expert per layer" : "the spawned experts",
      now.evolution.shared_expert_updates, completed_updates,
      shared_expert ? "its experts already" : "one shared expert per layer",
      shared_expert ? "use the value of that run"
                    : "use the value of that run, or 0 to start a new schedule with its experts");
}

}  // namespace evomoe
