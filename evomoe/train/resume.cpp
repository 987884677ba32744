#include "evomoe/train/resume.h"

#include <fmt/ranges.h>

#include <set>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/xxhash64.h"
#include "evomoe/config/describe.h"
#include "evomoe/train/loaded_model.h"
#include "evomoe/train/settings.h"

namespace evomoe {
namespace {

/// The flags that make the model, each with the value that it has after the architecture's
/// defaults.
std::vector<std::pair<std::string, std::string>> model_values(const TrainOptions& options) {
  const auto gpt = gpt_options(options, /*vocab_size=*/Dictionary::kSpecials, Dictionary::kPad,
                               /*shared_expert=*/false);
  const auto text = [](const auto& value) { return fmt::format("{}", value); };
  std::vector<std::pair<std::string, std::string>> values = {
      {"decoder-layers", text(gpt.layers)},
      {"decoder-embed-dim", text(gpt.embed_dim)},
      {"decoder-ffn-embed-dim", text(gpt.ffn_dim)},
      {"decoder-attention-heads", text(gpt.heads)},
      {"activation-fn", gpt.activation},
      {"decoder-learned-pos", text(gpt.learned_positions)},
      {"no-token-positional-embeddings", text(gpt.no_positions)},
      {"no-scale-embedding", text(!gpt.scale_embedding)},
      {"share-decoder-input-output-embed", text(gpt.tie_embeddings)},
      {"no-decoder-final-norm", text(!gpt.final_norm)},
      {"moe-freq", text(gpt.moe_freq)},
  };
  if (gpt.moe_freq > 0) {
    const auto& router = gpt.moe.router;
    values.emplace_back("alternate-decoder-ffn-embed-dim", text(gpt.dense_ffn_dim_of_moe_layers));
    values.emplace_back("moe-expert-count", text(router.num_experts));
    values.emplace_back("moe-router", router.method);
    values.emplace_back("moe-k", text(router.k));
    values.emplace_back("moe-no-normalize-topk", text(!router.normalize_topk));
  }
  return values;
}

/// Other values make other batches, so that "the first 100 batches are done" means something else.
const std::set<std::string> kDataOptions = {"tokens-per-sample",
                                            "sample-break-mode",
                                            "add-bos-token",
                                            "max-tokens",
                                            "batch-size",
                                            "train-subset",
                                            "required-batch-size-multiple",
                                            "curriculum",
                                            "seed"};

/// Groups of options that change the numbers; the others are about this call, files and the log.
const std::set<std::string> kGroups = {"task",      "model",     "moe",
                                       "evolution", "criterion", "optimization"};

std::string dictionary_checksum(const Dictionary& dictionary) {
  std::string symbols;
  for (int64_t i = 0; i < dictionary.size(); ++i) symbols += dictionary.symbol(i) + "\n";
  return fmt::format("{:016x}", xxhash64(symbols));
}

std::string shown(const nlohmann::json& value) {
  if (value.is_null()) return "not given";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

struct Differences {
  std::vector<std::string> model, data, other;
};

Differences differences(TrainOptions stored, TrainOptions now) {
  Differences found;
  std::set<std::string> of_model = {"arch"};
  const auto was_model = model_values(stored), is_model = model_values(now);
  for (size_t i = 0; i < std::min(was_model.size(), is_model.size()); ++i) {
    const auto& [name, was] = was_model[i];
    of_model.insert(name);
    if (const auto& is = is_model[i].second; was != is)
      found.model.push_back(fmt::format("--{} {} -> {}", name, was, is));
  }
  OptionTable stored_table("train", ""), now_table("train", "");
  describe(stored_table, stored);
  describe(now_table, now);
  for (size_t i = 0; i < now_table.options().size(); ++i) {
    const auto& option = *now_table.options()[i];
    const bool of_data = kDataOptions.contains(option.name());
    const auto was = stored_table.options()[i]->value(), is = option.value();
    if (was == is || of_model.contains(option.name())) continue;
    if (!of_data && !kGroups.contains(option.group())) continue;
    (of_data ? found.data : found.other)
        .push_back(fmt::format("--{} {} -> {}", option.name(), shown(was), shown(is)));
  }
  return found;
}

}  // namespace

nlohmann::json model_section(const Dictionary& dictionary) {
  return {{"vocabulary", dictionary.size()},
          {"dictionary", dictionary_checksum(dictionary)},
          {"padding", Dictionary::kPad}};
}

void check_dictionary(const nlohmann::json& manifest, const Dictionary& dictionary,
                      const std::filesystem::path& checkpoint) {
  const auto& model = manifest.at("model");
  const auto vocabulary = model.at("vocabulary").get<int64_t>();
  EVOMOE_CHECK(dictionary.size() == vocabulary,
               "{}: the model has {} symbols but the dictionary {}; give the folder of the data it "
               "was trained on",
               checkpoint.string(), vocabulary, dictionary.size());
  EVOMOE_CHECK(model.at("dictionary").get<std::string>() == dictionary_checksum(dictionary),
               "{}: the dictionary has other symbols than the model was trained with, or another "
               "order of them; give the folder of the data it was trained on",
               checkpoint.string());
}

std::string check_resume(const nlohmann::json& manifest, const TrainOptions& now,
                         int64_t training_items, const std::filesystem::path& checkpoint) {
  const auto found = differences(stored_options(manifest), now);
  EVOMOE_CHECK(found.model.empty(),
               "{}: it holds another model than these options make ({}); use the values of that "
               "run, another --save-dir for a new one, or --finetune-from-model to start a new run "
               "from its weights",
               checkpoint.string(), fmt::join(found.model, ", "));
  const auto& data = manifest.at("data");
  const auto offset = data.at("offset").get<int64_t>();
  if (offset > 0 && !now.checkpoint.reset_dataloader) {
    EVOMOE_CHECK(
        found.data.empty(),
        "{}: it was written after {} batches of epoch {}, and these options make other "
        "batches ({}); use the values of that run, or begin with the start of the epoch by "
        "--reset-dataloader",
        checkpoint.string(), offset, data.at("epoch").get<int64_t>(), fmt::join(found.data, ", "));
    const auto items = data.at("items").get<int64_t>();
    EVOMOE_CHECK(items == training_items,
                 "{}: the training data of its epoch had {} items, but that of {} has {}; use that "
                 "data, or begin with the start of the epoch by --reset-dataloader",
                 checkpoint.string(), items, now.data, training_items);
  }
  auto changed = found.data;
  changed.insert(changed.end(), found.other.begin(), found.other.end());
  return fmt::format("{}", fmt::join(changed, ", "));
}

std::string model_differences(const nlohmann::json& manifest, const TrainOptions& now) {
  return fmt::format("{}", fmt::join(differences(stored_options(manifest), now).model, ", "));
}

void check_spawn(bool shared_expert, const TrainOptions& now, int64_t completed_updates,
                 const std::filesystem::path& checkpoint) {
  const auto last_shared = now.evolution.shared_expert_updates;
  // The spawn belongs to the update after the last shared one, so at that count both are possible.
  EVOMOE_CHECK(
      shared_expert ? completed_updates <= last_shared && last_shared > 0
                    : completed_updates >= last_shared,
      "{}: it holds {}, but with --shared-expert-updates {} a run of {} updates has {}; {}",
      checkpoint.string(), shared_expert ? "one shared expert per layer" : "the spawned experts",
      last_shared, completed_updates,
      shared_expert ? "its experts already" : "one shared expert per layer",
      shared_expert ? "use the value of that run"
                    : "use the value of that run, or 0 to start a new schedule with its experts");
}

}  // namespace evomoe
