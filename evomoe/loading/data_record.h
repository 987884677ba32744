#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "evomoe/data/task_data.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// Writes data.json of a run folder, by which `evomoe compare` sees whether the perplexities of two
/// runs may be compared: the dictionaries, items and tokens of the training and validation data, a
/// checksum of the latter's files, and the options that decide what a validation measures.
void write_data_record(const TrainOptions& options, TaskData& data,
                       const std::map<std::string, std::shared_ptr<const Dataset>>& valid_sets,
                       const std::filesystem::path& path);

}  // namespace evomoe
