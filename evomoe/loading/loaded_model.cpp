#include "evomoe/loading/loaded_model.h"

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/data/data_folders.h"
#include "evomoe/loading/fairseq_import.h"
#include "evomoe/loading/run_folder.h"
#include "evomoe/loading/stored_state.h"
#include "evomoe/models/narrow_weights.h"
#include "evomoe/routing/capacity.h"
#include "evomoe/train/load_into.h"
#include "evomoe/train/settings.h"
#include "evomoe/train/trainer.h"

namespace evomoe {

namespace {

LoadedModel build(const std::filesystem::path& path, const LoadOptions& load, Checkpoint checkpoint,
                  Dictionaries dictionaries) {
  LoadedModel loaded;
  loaded.path = path;
  loaded.device = use_device(load.common);
  const bool narrow = load.dtype == "bfloat16";
  if (narrow && !loaded.device.is_cpu()) {
    fail_usage("--dtype bfloat16 is for the CPU, and --device is {}; leave it away",
               loaded.device.str());
  }
  const auto& state = checkpoint.state;
  loaded.options = stored_model_options(state);
  if (load.eval_capacity_fraction)
    loaded.options.routers.get<CapacityOptions>().eval_fraction = *load.eval_capacity_fraction;
  loaded.updates = state.updates;
  loaded.source_dictionary = std::move(dictionaries.source);
  loaded.dictionary = std::move(dictionaries.target);
  loaded.bpe = bpe_of(path, load.data, load.bpe);
  check_dictionaries(state.model, loaded.source_dictionary, loaded.dictionary, path);
  loaded.model = make_model(
      loaded.options, {loaded.source_dictionary.size(), loaded.dictionary.size(), Dictionary::kPad},
      state.evolution.shared_expert);
  // Numbers are rounded as they are read, so that the wide ones are never in memory.
  if (narrow) keep_matrices_in_bfloat16(*loaded.model);
  load_into(named_state(*loaded.model), checkpoint.model, "checkpoint " + path.string(),
            kOtherModelRemedy);
  loaded.model->to(loaded.device);
  loaded.model->eval();
  return loaded;
}

void check_same(const LoadedModel& first, const LoadedModel& other) {
  const auto check = [&](const std::string& what, const auto& of_first, const auto& of_other) {
    EVOMOE_CHECK(of_first == of_other,
                 "{} and {} cannot be averaged: they have not the same {}; name checkpoints of one "
                 "kind",
                 first.path.string(), other.path.string(), what);
  };
  const auto& a = first.options.task;
  const auto& b = other.options.task;
  check("--task", a.task, b.task);
  check("--source-lang", a.source_lang, b.source_lang);
  check("--target-lang", a.target_lang, b.target_lang);
  check("--left-pad-source", a.left_pad_source, b.left_pad_source);
  check("--add-bos-token", a.add_bos_token, b.add_bos_token);
  check("dictionary", model_record(first.source_dictionary, first.dictionary),
        model_record(other.source_dictionary, other.dictionary));
}

}  // namespace

Gpt LoadedModel::language_model(const std::string& command) const {
  auto gpt = std::dynamic_pointer_cast<GptImpl>(model);
  EVOMOE_CHECK(gpt != nullptr,
               "{}: {} needs a language model, and this one was trained with --task {}",
               path.string(), command, options.task.task);
  return Gpt(std::move(gpt));
}

EncoderDecoder LoadedModel::encoder_decoder(const std::string& command) const {
  auto pair = std::dynamic_pointer_cast<EncoderDecoderImpl>(model);
  EVOMOE_CHECK(pair != nullptr,
               "{}: {} needs an encoder-decoder, and this one was trained with --task {}",
               path.string(), command, options.task.task);
  return EncoderDecoder(std::move(pair));
}

LoadedModel load_model(const std::filesystem::path& given, const LoadOptions& load) {
  const auto path = named_checkpoint(given);
  if (is_fairseq_checkpoint(path)) {
    const auto theirs = read_fairseq_checkpoint(path, /*with_optimizer=*/false);
    const auto options = options_of_fairseq(theirs, load.data, /*weights_only=*/true);
    auto dictionaries = dictionaries_of(path, options.data, options.task);
    auto ours = checkpoint_of_fairseq(theirs, options, dictionaries.source, dictionaries.target,
                                      /*training_items=*/0);
    return build(path, load, std::move(ours), std::move(dictionaries));
  }
  auto checkpoint = load_checkpoint(path, /*with_optimizer=*/false);
  auto dictionaries = dictionaries_of(path, load.data, stored_options(checkpoint.state).task);
  return build(path, load, std::move(checkpoint), std::move(dictionaries));
}

std::vector<LoadedModel> load_models(const std::string& checkpoints, const LoadOptions& load) {
  std::vector<std::filesystem::path> paths = {checkpoints};
  if (!std::filesystem::exists(paths.front())) paths = split_paths(checkpoints, "--path");
  std::vector<LoadedModel> models;
  for (const auto& path : paths) {
    models.push_back(load_model(path, load));
    if (models.size() > 1) check_same(models.front(), models.back());
  }
  return models;
}

}  // namespace evomoe
