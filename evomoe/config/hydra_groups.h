#pragma once

#include <string>
#include <vector>

#include "evomoe/config/option_table.h"

/// The groups of fairseq's Hydra configuration, beside our own of the same or other names.
namespace evomoe {

bool is_hydra_group(const std::string& group);

/// Whether the Hydra group holds options that are in our group `ours` ("": of no group).
bool hydra_group_admits(const std::string& group, const std::string& ours);

/// The option that `_name:` in the group, or `group=name`, gives a value; "" when there is none.
std::string option_named_by(const std::string& group);

/// The value that a group's name means: Hydra's model file `roberta/base` is the arch roberta_base.
std::string group_choice(const std::string& group, const std::string& name);

/// "there is no group 'x'", with the nearest and all that there are.
std::string no_such_group(const std::vector<OptionTable::Group>& groups, const std::string& name);

}  // namespace evomoe
