#pragma once

#include "evomoe/train/task.h"

/// The object of each task; task.cpp lists them.
namespace evomoe {

std::unique_ptr<Task> make_language_modeling();
std::unique_ptr<Task> make_masked_lm();
std::unique_ptr<Task> make_translation();
std::unique_ptr<Task> make_sentence_prediction();
std::unique_ptr<Task> make_supervised_finetuning();

}  // namespace evomoe
