#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>

namespace evomoe {

/// The fields of a JSON object of a model of transformers, each of which must be read or be
/// harmless: one that is not known may change what the model computes. An Error names the file, the
/// field, its value and what is allowed.
class HubFields {
 public:
  /// `defaults`: what a field is that the object leaves out.
  HubFields(std::string where, nlohmann::json values, nlohmann::json defaults = {});

  const std::string& where() const { return where_; }
  /// Whether the object itself has it, and not as null.
  bool has(const std::string& name) const;

  // Nothing, or `otherwise`: it is neither there nor has a default, or is null.
  std::optional<int64_t> integer(const std::string& name);  ///< from 0 to 2^31 - 1
  std::optional<double> number(const std::string& name);
  bool flag(const std::string& name, bool otherwise = false);
  std::optional<std::string> text(const std::string& name);
  const nlohmann::json* object(const std::string& name);
  const nlohmann::json* list(const std::string& name);
  int64_t required_integer(const std::string& name);  ///< from 1

  /// A feature that no model of ours has: false, or not there.
  void must_be_off(const std::string& name, const std::string& what);
  [[noreturn]] void refuse(const std::string& name, const nlohmann::json& value,
                           const std::string& allowed) const;
  /// Error that lists what nobody read.
  void end(const std::set<std::string>& harmless = {}) const;

 private:
  /// Of the file, else the default; null: neither.
  const nlohmann::json* find(const std::string& name);

  std::string where_;
  nlohmann::json values_, defaults_;
  std::set<std::string> read_;
};

/// Fields of config.json that do not change what a model computes, whatever its architecture.
const std::set<std::string>& harmless_hub_fields();

}  // namespace evomoe
