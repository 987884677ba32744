#include "evomoe/config/architectures.h"

#include <fmt/ranges.h>

#include "evomoe/base/error.h"
#include "evomoe/config/families/list.h"

namespace evomoe {

#define DECLARE(name) FamilyDeclaration name##_family();
EVOMOE_FAMILIES(DECLARE)
#undef DECLARE

const std::vector<const FamilyDeclaration*>& family_declarations() {
  static const std::vector<FamilyDeclaration> families = [] {
#define ENTRY(name) name##_family(),
    std::vector<FamilyDeclaration> made = {EVOMOE_FAMILIES(ENTRY)};
#undef ENTRY
    for (auto& family : made) {
      for (auto& architecture : family.architectures) architecture.family = family.name;
    }
    return made;
  }();
  static const std::vector<const FamilyDeclaration*> pointers = [] {
    std::vector<const FamilyDeclaration*> made;
    for (const auto& family : families) made.push_back(&family);
    return made;
  }();
  return pointers;
}

const FamilyDeclaration& family_declaration(const std::string& name) {
  for (const auto* family : family_declarations()) {
    if (family->name == name) return *family;
  }
  fail("there is no family of models '{}'", name);
}

const Architecture& find_architecture(const std::string& name) {
  for (const auto* family : family_declarations()) {
    for (const auto& architecture : family->architectures) {
      if (architecture.name == name) return architecture;
    }
  }
  fail_usage("--arch {} is not known; it may be one of: {}", name,
             fmt::join(architecture_names(), ", "));
}

std::vector<std::string> architecture_names() {
  std::vector<std::string> names;
  for (const auto* family : family_declarations()) {
    for (auto& name : architecture_names(*family)) names.push_back(std::move(name));
  }
  return names;
}

std::vector<std::string> architecture_names(const FamilyDeclaration& family) {
  std::vector<std::string> names;
  for (const auto& architecture : family.architectures) names.push_back(architecture.name);
  return names;
}

}  // namespace evomoe
