#pragma once

#include "evomoe/config/options.h"

namespace evomoe {

/// Refuses combinations of options that cannot work, before any data is touched (those of train:
/// train/validate_options.h). Throws UsageError naming the options, their values and the remedy.
/// What a room knows better (architectures, routing methods, schedules) is check_settings()'s, and
/// what needs the data is checked where it is read.
void validate_options(const EvalOptions& options);
void validate_options(const GenerateOptions& options);
/// What is done with prompts where the user does not say: a model of running text (blocks of it,
/// not lines) samples as transformers do, and goes on behind the ends of lines; others give the
/// most probable line.
GenerateOptions prompt_options(GenerateOptions options, bool running_text);
/// More for `generate` of prompts, and of a split of data: which it is the checkpoint may decide.
void validate_prompts(const GenerateOptions& options);
void validate_generation(const GenerateOptions& options);
void validate_options(const InteractiveOptions& options);
void validate_options(const ScoreOptions& options);
void validate_options(const PreprocessFlags& options);
void validate_options(const BpeFlags& options);

}  // namespace evomoe
