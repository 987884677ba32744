#include "evomoe/train/model_family.h"

#include <fmt/ranges.h>

#include "evomoe/base/error.h"
#include "evomoe/train/task.h"

namespace evomoe {

// A family is a file in train/families, and a line in each of these two lists.
std::unique_ptr<ModelFamily> make_language_model_family();
std::unique_ptr<ModelFamily> make_roberta_family();
std::unique_ptr<ModelFamily> make_encoder_decoder_family();

ModelFamily::ModelFamily(FamilyDeclaration declaration) : declaration_(std::move(declaration)) {
  for (auto& architecture : declaration_.architectures) architecture.family = declaration_.name;
}

const std::vector<std::unique_ptr<const ModelFamily>>& families() {
  static const auto all = [] {
    std::vector<std::unique_ptr<const ModelFamily>> made;
    for (auto* make : {make_language_model_family,  //
                       make_roberta_family,         //
                       make_encoder_decoder_family}) {
      made.push_back(make());
    }
    return made;
  }();
  return all;
}

const ModelFamily& find_family(const std::string& name) {
  for (const auto& family : families()) {
    if (family->declaration().name == name) return *family;
  }
  fail("there is no family of models '{}'", name);
}

const Architecture& find_architecture(const std::string& name) {
  for (const auto& family : families()) {
    for (const auto& architecture : family->declaration().architectures) {
      if (architecture.name == name) return architecture;
    }
  }
  fail_usage("--arch {} is not known; it may be one of: {}", name,
             fmt::join(architecture_names(), ", "));
}

std::vector<std::string> architecture_names() {
  std::vector<std::string> names;
  for (const auto& family : families()) {
    for (auto& name : architecture_names(family->declaration())) names.push_back(std::move(name));
  }
  return names;
}

std::vector<std::string> architecture_names(const FamilyDeclaration& family) {
  std::vector<std::string> names;
  for (const auto& architecture : family.architectures) names.push_back(architecture.name);
  return names;
}

const ModelFamily& family_of(const TrainOptions& options) {
  return find_family(architecture_of(options).family);
}

const Architecture& architecture_of(const TrainOptions& options) {
  const auto& architecture = find_architecture(options.model.arch);
  const auto& family = family_of_task(options.task.task);
  if (architecture.family != family.name) {
    fail_usage("--arch {} is {}, but --task {} needs {}; use one of: {}", architecture.name,
               find_family(architecture.family).declaration().words, options.task.task,
               family.words, fmt::join(architecture_names(family), ", "));
  }
  return architecture;
}

}  // namespace evomoe
