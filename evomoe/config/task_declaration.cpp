#include "evomoe/config/task_declaration.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/config/tasks/list.h"

namespace evomoe {

#define DECLARE(name) TaskDeclaration name##_task();
EVOMOE_TASKS(DECLARE)
#undef DECLARE

const std::vector<TaskDeclaration>& task_declarations() {
#define ENTRY(name) name##_task(),
  static const std::vector<TaskDeclaration> tasks = {EVOMOE_TASKS(ENTRY)};
#undef ENTRY
  return tasks;
}

const TaskDeclaration& task_declaration(const std::string& name) {
  for (const auto& task : task_declarations()) {
    if (task.name == name) return task;
  }
  fail_usage("--task {} is not known; it may be one of: {}", name, fmt::join(task_names(), ", "));
}

const FamilyDeclaration& family_of_task(const std::string& task) {
  return family_declaration(task_declaration(task).family);
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const auto& task : task_declarations()) names.push_back(task.name);
  return names;
}

std::vector<std::string> tasks_where(const std::function<bool(const TaskDeclaration&)>& holds) {
  std::vector<std::string> names;
  for (const auto& task : task_declarations()) {
    if (holds(task)) names.push_back(task.name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> tasks_of_families(
    const std::function<bool(const FamilyDeclaration&)>& holds) {
  return tasks_where(
      [&](const TaskDeclaration& task) { return holds(family_declaration(task.family)); });
}

std::vector<std::string> decoder_tasks() {
  return tasks_of_families([](const FamilyDeclaration& family) { return family.decoder; });
}

std::vector<std::string> encoder_tasks() {
  return tasks_of_families([](const FamilyDeclaration& family) { return family.encoder; });
}

std::vector<std::string> tasks_of_criterion(const std::string& criterion) {
  return tasks_where([&](const TaskDeclaration& task) {
    const auto& own = task.criterions;
    return std::find(own.begin(), own.end(), criterion) != own.end();
  });
}

}  // namespace evomoe
