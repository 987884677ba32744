#include "evomoe/train/task_options.h"

#include "evomoe/config/option_table.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/task.h"

namespace evomoe {

void TaskOptions::describe(OptionTable& table, const std::string& arch) {
  table.group("task", "Task");
  table.add("task", &task, "What is trained for; not given: the task of the architecture.")
      .default_from(
          [&arch] { return find_family(find_architecture(arch).family).declaration().task; })
      .choices(task_names());
  table.for_tasks(tasks_where([](const TaskDeclaration& each) { return each.samples; }));
  table.add("tokens-per-sample", &tokens_per_sample, "Longest sequence, in tokens.")
      .range(1, 1 << 20);
  table.for_tasks(tasks_where([](const TaskDeclaration& each) { return each.blocks; }));
  table
      .add("sample-break-mode", &sample_break_mode,
           "How the text is cut into sequences: at any token, at sentence ends, at sentence ends "
           "within a document, "
           "or one sentence each.")
      .choices({"none", "complete", "complete_doc", "eos"});
  for (const auto& each : tasks()) {
    table.for_tasks({each->declaration().name});
    each->describe(table, *this);
  }
}

}  // namespace evomoe
