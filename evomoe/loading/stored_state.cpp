#include "evomoe/loading/stored_state.h"

#include <string>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/xxhash64.h"
#include "evomoe/config/option_table.h"

namespace evomoe {
namespace {

std::string dictionary_checksum(const Dictionary& dictionary) {
  std::string symbols;
  for (int64_t i = 0; i < dictionary.size(); ++i) symbols += dictionary.symbol(i) + "\n";
  return fmt::format("{:016x}", xxhash64(symbols));
}

DictionaryRecord dictionary_record(const Dictionary& dictionary) {
  return {dictionary.size(), dictionary_checksum(dictionary)};
}

}  // namespace

nlohmann::json stored_config(const TrainOptions& options) {
  TrainOptions copy = options;
  OptionTable table("train", "");
  copy.describe(table);
  return table.to_json();
}

TrainOptions stored_options(const RunState& state) {
  TrainOptions options;
  OptionTable table("train", "");
  options.describe(table);
  table.from_json(state.config);
  return options;
}

TrainOptions stored_model_options(const RunState& state) {
  auto options = stored_options(state);
  if (state.evolution.experts > 0) options.moe.moe_expert_count = state.evolution.experts;
  return options;
}

EvolutionRecord evolution_record(const StageState& stage, bool shared_expert, int64_t experts) {
  return {.stage = stage_name(stage.stage),
          .shared_expert = shared_expert,
          .temperature = stage.schedule.temperature,
          .hard = stage.schedule.hard,
          .experts = experts};
}

ModelRecord model_record(const Dictionary& source, const Dictionary& target) {
  return {.target = dictionary_record(target),
          .source = dictionary_record(source),
          .padding = Dictionary::kPad};
}

Vocabulary stored_vocabulary(const ModelRecord& model) {
  return {model.source.value_or(model.target).size, model.target.size, model.padding};
}

void check_dictionaries(const ModelRecord& model, const Dictionary& source,
                        const Dictionary& target, const std::filesystem::path& checkpoint) {
  const auto check = [&](const Dictionary& dictionary, const DictionaryRecord& stored,
                         const std::string& words) {
    EVOMOE_CHECK(
        dictionary.size() == stored.size,
        "{}: the model has {} {}symbols but the dictionary {}; give the folder of the data "
        "it was trained on",
        checkpoint.string(), stored.size, words, dictionary.size());
    EVOMOE_CHECK(stored.checksum == dictionary_checksum(dictionary),
                 "{}: the {}dictionary has other symbols than the model was trained with, or "
                 "another order of them; give the folder of the data it was trained on",
                 checkpoint.string(), words);
  };
  check(target, model.target, "");
  if (model.source) check(source, *model.source, "source ");
}

}  // namespace evomoe
