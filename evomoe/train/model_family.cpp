#include "evomoe/train/model_family.h"

#include <fmt/ranges.h>

#include <map>

#include "evomoe/base/error.h"
#include "evomoe/config/families/list.h"
#include "evomoe/config/task_declaration.h"

namespace evomoe {

#define DECLARE(name) std::unique_ptr<ModelFamily> make_##name##_family();
EVOMOE_FAMILIES(DECLARE)
#undef DECLARE

namespace {

std::map<std::string, std::unique_ptr<ModelFamily>> make_families() {
  std::map<std::string, std::unique_ptr<ModelFamily>> families;
#define ADD(name) families[#name] = make_##name##_family();
  EVOMOE_FAMILIES(ADD)
#undef ADD
  return families;
}

}  // namespace

const ModelFamily& find_family(const std::string& name) {
  static const auto families = make_families();
  return *families.at(family_declaration(name).name);
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
