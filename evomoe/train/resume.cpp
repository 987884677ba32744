#include "evomoe/train/resume.h"

#include <fmt/ranges.h>

#include <set>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/xxhash64.h"
#include "evomoe/config/describe.h"
#include "evomoe/train/loaded_model.h"

namespace evomoe {
namespace {

/// Other values make another model of the same weights, or weights of other shapes.
const std::set<std::string> kModelOptions = {"arch",
                                             "decoder-layers",
                                             "decoder-embed-dim",
                                             "decoder-ffn-embed-dim",
                                             "decoder-attention-heads",
                                             "activation-fn",
                                             "decoder-learned-pos",
                                             "no-token-positional-embeddings",
                                             "no-scale-embedding",
                                             "share-decoder-input-output-embed",
                                             "no-decoder-final-norm",
                                             "moe-freq",
                                             "moe-expert-count",
                                             "moe-router",
                                             "moe-k",
                                             "moe-no-normalize-topk",
                                             "alternate-decoder-ffn-embed-dim"};

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

/// Said by the user for this call alone, or of no influence on the numbers.
const std::set<std::string> kCallOptions = {
    "data",         "save-dir",     "restore-file",    "finetune-from-model",
    "init-from",    "reset-meters", "reset-optimizer", "reset-dataloader",
    "max-update",   "max-epoch",    "stop-time-hours", "log-format",
    "log-interval", "device",       "threads",         "num-workers"};

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
  OptionTable stored_table("train", ""), now_table("train", "");
  describe(stored_table, stored);
  describe(now_table, now);
  Differences found;
  for (size_t i = 0; i < now_table.options().size(); ++i) {
    const auto& option = *now_table.options()[i];
    const auto was = stored_table.options()[i]->value(), is = option.value();
    if (was == is || kCallOptions.contains(option.name())) continue;
    auto& list = kModelOptions.contains(option.name())  ? found.model
                 : kDataOptions.contains(option.name()) ? found.data
                                                        : found.other;
    list.push_back(fmt::format("--{} {} -> {}", option.name(), shown(was), shown(is)));
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
