#pragma once

#include <functional>

#include "evomoe/config/option_table.h"
#include "evomoe/config/options.h"

namespace evomoe {

/// Visits every option that is given, that is, differs from its default, with its table.
void for_each_given(TrainOptions options,
                    const std::function<void(const OptionTable&, const Option&)>& visit);

}  // namespace evomoe
