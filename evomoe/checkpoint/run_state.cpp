#include "evomoe/checkpoint/run_state.h"

namespace evomoe {
namespace {

using nlohmann::json;

/// null: there is none.
json or_null(const std::optional<double>& value) { return value ? json(*value) : json(); }

/// A value that is no number (NaN is written as null) or missing is none.
std::optional<double> number_in(const json& section, const char* key) {
  const auto found = section.find(key);
  if (found == section.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

DataPosition data_of(const json& section) {
  return {section.at("epoch").get<int64_t>(), section.at("offset").get<int64_t>(),
          section.at("items").get<int64_t>()};
}

EvolutionRecord evolution_of(const json& section) {
  return {section.at("stage").get<std::string>(), section.at("shared_expert").get<bool>(),
          section.at("temperature").get<double>(), section.at("hard").get<bool>(),
          section.value("experts", int64_t{0})};
}

ModelRecord model_of(const json& section) {
  const auto dictionary = [&](const std::string& side) -> DictionaryRecord {
    return {section.at(side + "vocabulary").get<int64_t>(),
            section.at(side + "dictionary").get<std::string>()};
  };
  ModelRecord model;
  model.target = dictionary("");
  if (section.contains("source_vocabulary")) model.source = dictionary("source_");
  model.padding = section.at("padding").get<int64_t>();
  return model;
}

ProgressRecord progress_of(const json& section) {
  return {section.at("seconds").get<double>(), section.at("flops").get<double>(),
          section.at("tokens").get<double>(), section.at("meters")};
}

PatienceRecord patience_of(const json& section) {
  PatienceRecord patience;
  patience.used = section.at("used").get<int64_t>();
  if (!section.at("best").is_null()) patience.best = section.at("best").get<double>();
  if (section.contains("metric")) patience.metric = section["metric"].get<std::string>();
  return patience;
}

SaveRecord save_of(const json& section) {
  SaveRecord saved;
  if (section.contains("updates")) {
    saved.moment = {section.at("epoch").get<int64_t>(), section.at("updates").get<int64_t>(),
                    section.at("end_of_epoch").get<bool>()};
  }
  saved.best_metric = section.at("best_metric").get<std::string>();
  saved.maximize_best = section.value("maximize_best", false);
  saved.metric = number_in(section, "metric");
  saved.best = number_in(section, "best");
  return saved;
}

}  // namespace

void to_json(json& out, const EvolutionRecord& evolution) {
  out = {{"stage", evolution.stage},
         {"shared_expert", evolution.shared_expert},
         {"temperature", evolution.temperature},
         {"hard", evolution.hard}};
  if (evolution.experts > 0) out["experts"] = evolution.experts;
}

void to_json(json& out, const ModelRecord& model) {
  out = {{"vocabulary", model.target.size},
         {"dictionary", model.target.checksum},
         {"padding", model.padding}};
  if (!model.source) return;
  out["source_vocabulary"] = model.source->size;
  out["source_dictionary"] = model.source->checksum;
}

void to_json(json& out, const SaveRecord& saved) {
  out = {{"best_metric", saved.best_metric}, {"maximize_best", saved.maximize_best}};
  if (saved.moment) {
    out["epoch"] = saved.moment->epoch;
    out["updates"] = saved.moment->updates;
    out["end_of_epoch"] = saved.moment->end_of_epoch;
  }
  if (saved.metric) out["metric"] = *saved.metric;
  if (saved.best) out["best"] = *saved.best;
}

json to_sections(const RunState& state) {
  json sections = {
      {"config", state.config},
      {"counters", {{"updates", state.updates}}},
      {"data",
       {{"epoch", state.data.epoch}, {"offset", state.data.offset}, {"items", state.data.items}}},
      {"evolution", state.evolution},
      {"model", state.model},
      {"progress",
       {{"seconds", state.progress.seconds},
        {"flops", state.progress.flops},
        {"tokens", state.progress.tokens},
        {"meters", state.progress.meters}}},
      {"patience", {{"used", state.patience.used}, {"best", or_null(state.patience.best)}}}};
  if (state.patience.metric) sections["patience"]["metric"] = *state.patience.metric;
  if (state.saved) sections["checkpoint"] = *state.saved;
  return sections;
}

RunState from_sections(const json& sections) {
  RunState state;
  state.config = sections.at("config");
  state.updates = sections.at("counters").at("updates").get<int64_t>();
  state.data = data_of(sections.at("data"));
  state.evolution = evolution_of(sections.at("evolution"));
  state.model = model_of(sections.at("model"));
  state.progress = progress_of(sections.at("progress"));
  state.patience = patience_of(sections.at("patience"));
  if (sections.contains("checkpoint")) state.saved = save_of(sections["checkpoint"]);
  return state;
}

}  // namespace evomoe
