#pragma once

#include <functional>

#include "evomoe/config/option_table.h"

namespace evomoe {

using OptionVisitor = std::function<void(const OptionTable&, const Option&)>;

/// Visits every option of `table` whose value is not its default, the one in `defaults`, which is
/// the same table of options that nobody touched.
void visit_given(const OptionTable& table, const OptionTable& defaults, const OptionVisitor& visit);

/// Visits every option that is given, with its table. Given is what differs from the default that
/// its struct declares: a checkpoint and a run's config.yaml store every value, so that where an
/// option was read from says nothing. `describe_into(table, options)` describes the options.
template <typename Options, typename Describe>
void for_each_given(Options options, Describe describe_into, const OptionVisitor& visit) {
  Options plain;
  OptionTable defaults("", ""), table("", "");
  describe_into(defaults, plain);
  describe_into(table, options);
  visit_given(table, defaults, visit);
}

}  // namespace evomoe
