#include "evomoe/hub/hub_config.h"

#include <fmt/ranges.h>

#include "evomoe/base/error.h"
#include "evomoe/base/json_file.h"
#include "evomoe/base/json_text.h"
#include "evomoe/hub/evomoe_config.h"
#include "evomoe/hub/gpt_config.h"
#include "evomoe/hub/hub_fields.h"
#include "evomoe/hub/hub_shape.h"
#include "evomoe/hub/llama_config.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/model_options.h"

namespace evomoe {
namespace {

using nlohmann::json;

const HubArchitecture& architecture_in(const json& config, const std::string& where) {
  const auto type = config.value("model_type", json());
  const auto classes = config.value("architectures", json());
  const HubArchitecture* found = nullptr;
  for (const auto& each : hub_architectures()) {
    const bool of_class =
        classes.is_array() && !classes.empty() && classes[0] == json(each.model_class);
    const bool no_class = classes.is_null() && type == json(each.type);
    if (of_class || no_class) found = &each;
  }
  std::vector<std::string> known;
  for (const auto& each : hub_architectures()) known.push_back(each.model_class);
  EVOMOE_CHECK(
      found != nullptr,
      "{}: a model of `architectures` {} and `model_type` {} cannot be made here; those of "
      "{} can",
      where, json_text(classes), json_text(type), fmt::join(known, ", "));
  EVOMOE_CHECK(type.is_null() || type == json(found->type),
               "{}: `model_type` {} and `architectures` {} contradict each other", where,
               json_text(type), json_text(classes));
  return *found;
}

void read_family(HubFields& fields, const HubArchitecture& architecture, TrainOptions& options) {
  switch (architecture.family) {
    case HubFamily::kLlama:
      return read_llama_config(fields, architecture, options);
    case HubFamily::kFairseq:
      return read_fairseq_config(fields, architecture, options);
    case HubFamily::kGpt2:
      return read_gpt2_config(fields, options);
    case HubFamily::kEvomoe:
      return read_evomoe_config(fields, options);
  }
}

}  // namespace

HubModel read_hub_config(const std::filesystem::path& folder) {
  const auto path = folder / "config.json";
  const auto where = path.string();
  EVOMOE_CHECK(std::filesystem::exists(path),
               "{}: is not there; --from hf takes the folder of a model, with config.json", where);
  std::string repeated;
  const auto config = read_json_file(path, &repeated);
  EVOMOE_CHECK(repeated.empty(), "{}: has `{}` twice; remove the one that is not meant", where,
               repeated);
  HubModel model;
  const auto& architecture = architecture_in(config, where);
  model.architecture = &architecture;
  EVOMOE_CHECK(!config.contains("quantization_config"),
               "{}: the model is quantised (`quantization_config`); take its weights in float32, "
               "bfloat16 or float16",
               where);
  HubFields fields(where, config, architecture.defaults);
  model.options.task.task = "language_modeling";
  model.options.model.arch = "transformer_lm";
  model.vocab_size = fields.required_integer("vocab_size");
  EVOMOE_CHECK(model.vocab_size > Dictionary::kSpecials,
               "{}: `vocab_size` is {}; a dictionary here has {} symbols of its own at least",
               where, model.vocab_size, Dictionary::kSpecials);
  read_hub_shape(fields, architecture, model.options);
  read_family(fields, architecture, model.options);
  fields.end(harmless_hub_fields());
  try {
    gpt_options(model.options, model.vocab_size, Dictionary::kPad, /*shared_expert=*/false)
        .validate();
  } catch (const UsageError& error) {
    fail("{}: no model can be made of it: {}", where, error.what());
  }
  return model;
}

}  // namespace evomoe
