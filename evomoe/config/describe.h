#pragma once

#include <memory>
#include <string>
#include <vector>

#include "evomoe/config/option_table.h"

namespace evomoe {

/// A command's table that owns what it fills.
template <typename Options, typename Describe>
std::shared_ptr<const OptionTable> make_table(const std::string& command,
                                              const std::string& summary, Describe describe_into) {
  struct Both {
    Options options;
    OptionTable table;
  };
  const auto both = std::shared_ptr<Both>(new Both{{}, {command, summary}});
  describe_into(both->table, both->options);
  return {both, &both->table};
}

/// The content of docs/options.md: every option of the commands of `tables`.
std::string options_markdown(const std::vector<std::shared_ptr<const OptionTable>>& tables);

}  // namespace evomoe
