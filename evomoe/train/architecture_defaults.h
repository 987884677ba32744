#pragma once

namespace evomoe {

class OptionTable;
struct TrainOptions;

/// Options of routing that an architecture has values for take these where they are not given. What
/// refines a routing method goes with the architecture's own method alone. To be called when the
/// table has the options of models, routing and routers.
void follow_architecture(OptionTable& table, const TrainOptions& options);

}  // namespace evomoe
