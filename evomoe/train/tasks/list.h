#pragma once

/// The tasks, in the order of --help: what a new one adds. TASK(name) stands for the function
/// `std::unique_ptr<Task> make_name()` of train/tasks/name.cpp.
#define EVOMOE_TASKS(TASK)  \
  TASK(language_modeling)   \
  TASK(masked_lm)           \
  TASK(translation)         \
  TASK(sentence_prediction) \
  TASK(supervised_finetuning)
