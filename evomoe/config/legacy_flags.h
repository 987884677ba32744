#pragma once

#include <string>
#include <utility>
#include <vector>

#include "evomoe/config/option_table.h"

namespace evomoe {

/// Adds flags of the reference that have no counterpart here to a table; what the table has already
/// is passed over, so that the commands share one description of them.
class LegacyFlags {
 public:
  using Names = std::vector<std::string>;

  explicit LegacyFlags(OptionTable& table) : table_(table) {}

  /// Flags without a value, accepted without effect.
  void passed_over(const Names& names, const std::string& note) { add(names, note, false, {}); }
  /// Flags with a value, of which only those in `harmless` are accepted; none: all are.
  void passed_over_with_value(const Names& names, const std::string& note,
                              const std::vector<std::string>& harmless = {}) {
    add(names, note, true, harmless);
  }
  void refused(const Names& names, const std::string& note) {
    add(names, note, false, {}, /*refused=*/true);
  }
  void refused_with_value(const Names& names, const std::string& note) {
    add(names, note, true, {}, /*refused=*/true);
  }

 private:
  void add(const Names& names, const std::string& note, bool takes_value,
           const std::vector<std::string>& harmless, bool refused = false) {
    for (const auto& name : names) {
      if (!table_.knows(name)) table_.legacy({name, takes_value, harmless, note, refused});
    }
  }

  OptionTable& table_;
};

}  // namespace evomoe
