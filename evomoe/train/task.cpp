#include "evomoe/train/task.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/data/data_folders.h"

namespace evomoe {

// A task is a file in train/tasks, and a line in each of these two lists.
std::unique_ptr<Task> make_language_modeling();
std::unique_ptr<Task> make_masked_lm();
std::unique_ptr<Task> make_translation();
std::unique_ptr<Task> make_sentence_prediction();
std::unique_ptr<Task> make_supervised_finetuning();

const std::vector<std::unique_ptr<const Task>>& tasks() {
  static const auto all = [] {
    std::vector<std::unique_ptr<const Task>> made;
    for (auto* make : {make_language_modeling,    //
                       make_masked_lm,            //
                       make_translation,          //
                       make_sentence_prediction,  //
                       make_supervised_finetuning}) {
      made.push_back(make());
    }
    return made;
  }();
  return all;
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
  for (const auto& task : tasks()) {
    if (task->declaration().name == name) return *task;
  }
  fail_usage("--task {} is not known; it may be one of: {}", name, fmt::join(task_names(), ", "));
}

const FamilyDeclaration& family_of_task(const std::string& task) {
  return find_family(find_task(task).declaration().family).declaration();
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const auto& task : tasks()) names.push_back(task->declaration().name);
  return names;
}

std::vector<std::string> tasks_where(const std::function<bool(const TaskDeclaration&)>& holds) {
  std::vector<std::string> names;
  for (const auto& task : tasks()) {
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
