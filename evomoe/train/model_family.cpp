#include "evomoe/train/model_family.h"

#include <fmt/ranges.h>

#include <map>

#include "evomoe/base/error.h"
#include "evomoe/config/task_declaration.h"
#include "evomoe/train/families/families.h"

namespace evomoe {
namespace {

std::map<std::string, std::unique_ptr<ModelFamily>> make_families() {
  std::map<std::string, std::unique_ptr<ModelFamily>> families;
  families["language_model"] = make_language_model_family();
  families["roberta"] = make_roberta_family();
  families["encoder_decoder"] = make_encoder_decoder_family();
  return families;
}

}  // namespace

const ModelFamily& find_family(const std::string& name) {
  static const auto families = make_families();
  const auto found = families.find(name);
  EVOMOE_CHECK(found != families.end(),
               "the family of models '{}' is not in the list of train/model_family.cpp", name);
  return *found->second;
}

const ModelFamily& family_of(const TrainOptions& options) {
  return find_family(architecture_of(options).family);
}

const Architecture& architecture_of(const TrainOptions& options) {
  const auto& architecture = find_architecture(options.model.arch);
  const auto& family = family_of_task(options.task.task);
  if (architecture.family != family.name) {
    fail_usage("--arch {} is {}, but --task {} needs {}; use one of: {}", architecture.name,
               family_declaration(architecture.family).words, options.task.task, family.words,
               fmt::join(architecture_names(family), ", "));
  }
  return architecture;
}

}  // namespace evomoe
