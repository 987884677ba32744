#pragma once

#include <functional>
#include <string>
#include <vector>

#include "evomoe/config/architectures.h"
#include "evomoe/config/options.h"

namespace evomoe {

/// What the options know of a task: its own, and those of others that it has. What the task does
/// and refuses is train/task.h's.
struct TaskDeclaration {
  std::string name;      ///< a value of --task
  std::string family;    ///< of its models (FamilyDeclaration)
  bool samples = false;  ///< its sequences have --tokens-per-sample
  bool blocks = false;   ///< they are cut from running text as --sample-break-mode says
  /// The criterions that go with this task and with no other; empty: those that predict each token
  /// of a target, which all such tasks share.
  std::vector<std::string> criterions = {};
  /// Describes its own options.
  void (*describe)(OptionTable& table, TaskOptions& options) = nullptr;
};

/// All tasks. A new one is its file in config/tasks, its file in train/tasks, and a line in
/// config/tasks/list.h.
const std::vector<TaskDeclaration>& task_declarations();

/// The task of this name; unknown names are a UsageError that lists the known ones.
const TaskDeclaration& task_declaration(const std::string& name);

/// The family of a task's models.
const FamilyDeclaration& family_of_task(const std::string& task);

std::vector<std::string> task_names();

/// The names of those tasks, in alphabetical order.
std::vector<std::string> tasks_where(const std::function<bool(const TaskDeclaration&)>& holds);
/// The tasks whose family is such a one.
std::vector<std::string> tasks_of_families(
    const std::function<bool(const FamilyDeclaration&)>& holds);
/// The tasks whose models have a decoder, or an encoder.
std::vector<std::string> decoder_tasks();
std::vector<std::string> encoder_tasks();
/// The tasks that have the criterion for themselves; none: it goes with all others.
std::vector<std::string> tasks_of_criterion(const std::string& criterion);

}  // namespace evomoe
