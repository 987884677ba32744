#pragma once

#include "evomoe/config/task_declaration.h"

/// The declaration of each task; task_declaration.cpp lists them.
namespace evomoe {

TaskDeclaration language_modeling_task();
TaskDeclaration masked_lm_task();
TaskDeclaration translation_task();
TaskDeclaration sentence_prediction_task();
TaskDeclaration supervised_finetuning_task();

}  // namespace evomoe
