#pragma once

#include <memory>
#include <string>

#include "evomoe/data/language_model_dataset.h"
#include "evomoe/data/language_pair_data.h"
#include "evomoe/data/task_data.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/options.h"

/// What --task says about data.
namespace evomoe {

/// Opens the data of the options' task in the folder `data` (or several, `a:b:c`). What the data
/// tells better than the options (the languages of a pair) is written into them.
std::unique_ptr<TaskData> open_task_data(const std::string& data, TrainOptions& options);

LanguageModelDatasetOptions language_model_dataset_options(const TrainOptions& options);
LanguagePairDataOptions language_pair_data_options(const TrainOptions& options);

/// The sizes of a task's dictionaries.
Vocabulary vocabulary_of(const TaskData& data);

}  // namespace evomoe
