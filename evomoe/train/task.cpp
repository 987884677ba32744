#include "evomoe/train/task.h"

#include <map>

#include "evomoe/base/error.h"
#include "evomoe/config/tasks/list.h"
#include "evomoe/data/data_folders.h"

namespace evomoe {

#define DECLARE(name) std::unique_ptr<Task> make_##name();
EVOMOE_TASKS(DECLARE)
#undef DECLARE

namespace {

std::map<std::string, std::unique_ptr<Task>> make_tasks() {
  std::map<std::string, std::unique_ptr<Task>> tasks;
#define ADD(name) tasks[#name] = make_##name();
  EVOMOE_TASKS(ADD)
#undef ADD
  return tasks;
}

}  // namespace

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
  static const auto tasks = make_tasks();
  return *tasks.at(task_declaration(name).name);
}

std::unique_ptr<TaskData> open_task_data(const std::string& data, TrainOptions& options) {
  return find_task(options.task.task).open_data(data, options);
}

Vocabulary vocabulary_of(const TaskData& data) {
  return {data.source_dictionary().size(), data.target_dictionary().size(), Dictionary::kPad};
}

}  // namespace evomoe
