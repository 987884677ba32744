#include "evomoe/train/task.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/data/data_folders.h"
#include "evomoe/train/tasks/list.h"

namespace evomoe {

#define DECLARE(name) std::unique_ptr<Task> make_##name();
EVOMOE_TASKS(DECLARE)
#undef DECLARE

const std::vector<const Task*>& tasks() {
  static const auto made = [] {
    std::vector<std::unique_ptr<Task>> all;
#define ADD(name) all.push_back(make_##name());
    EVOMOE_TASKS(ADD)
#undef ADD
    return all;
  }();
  static const auto pointers = [] {
    std::vector<const Task*> all;
    for (const auto& task : made) all.push_back(task.get());
    return all;
  }();
  return pointers;
}

std::shared_ptr<const Dataset> Task::open_sources(TaskData& data, const std::string& split) const {
  return data.open(split, /*combine=*/false, /*pad_to_batch_size=*/0);
}

std::vector<std::string> Task::dictionary_names(const TaskOptions&) const { return {"dict.txt"}; }

std::filesystem::path Task::dictionary_folder(const std::filesystem::path& data) const {
  return data;
}

Dictionary Task::load_dictionary(const std::filesystem::path& folder,
                                 const std::string& name) const {
  return load_dictionary_of(folder, name);
}

std::vector<ClassificationHeadOptions> Task::heads(const TrainOptions&) const { return {}; }

int64_t Task::most_predicted(const TaskOptions&, int64_t, int64_t) const { return 0; }

std::vector<std::string> Task::length_options(const TrainOptions& options) const {
  return positions_options(options);
}

const Task& find_task(const std::string& name) {
  for (const auto* task : tasks()) {
    if (task->declaration().name == name) return *task;
  }
  fail_usage("--task {} is not known; it may be one of: {}", name, fmt::join(task_names(), ", "));
}

const FamilyDeclaration& family_of_task(const std::string& task) {
  return find_family(find_task(task).declaration().family).declaration();
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const auto* task : tasks()) names.push_back(task->declaration().name);
  return names;
}

std::vector<std::string> tasks_where(const std::function<bool(const TaskDeclaration&)>& holds) {
  std::vector<std::string> names;
  for (const auto* task : tasks()) {
    if (holds(task->declaration())) names.push_back(task->declaration().name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> tasks_of_families(
    const std::function<bool(const FamilyDeclaration&)>& holds) {
  return tasks_where(
      [&](const TaskDeclaration& task) { return holds(find_family(task.family).declaration()); });
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

std::unique_ptr<TaskData> open_task_data(const std::string& data, TrainOptions& options) {
  return find_task(options.task.task).open_data(data, options);
}

Vocabulary vocabulary_of(const TaskData& data) {
  return {data.source_dictionary().size(), data.target_dictionary().size(), Dictionary::kPad};
}

}  // namespace evomoe
