#pragma once

#include "evomoe/data/language_model_dataset.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// How the task cuts its data into sequences.
LanguageModelDatasetOptions language_model_dataset_options(const TrainOptions& options);

}  // namespace evomoe
