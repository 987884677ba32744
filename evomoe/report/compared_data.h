#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

/// What runs were trained and validated on, as the data.json of their folders tells it.
namespace evomoe {

/// Null where there is no data.json, or it cannot be read.
nlohmann::ordered_json read_data_record(const std::filesystem::path& run_folder);

/// What makes the perplexities of two runs on the validation data `subset` incomparable, as far as
/// both records tell of it: "vocabularies of 100 symbols against 200", ... `subset` may be that of
/// a validation as the stage routes, whose data are the subset's own.
std::vector<std::string> data_differences(const nlohmann::ordered_json& first,
                                          const nlohmann::ordered_json& other,
                                          const std::string& subset);

/// "100 tokens of data-bin against 200 of other-bin"; nothing: trained on the same.
std::optional<std::string> training_difference(const nlohmann::ordered_json& first,
                                               const nlohmann::ordered_json& other);

}  // namespace evomoe
