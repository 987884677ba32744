#include "evomoe/run/patience.h"

#include "evomoe/base/log.h"

namespace evomoe {

Patience::Patience(const CheckpointOptions& options)
    : most_(options.patience), maximize_(options.maximize_best_checkpoint_metric) {
  record_.metric = options.best_checkpoint_metric;
}

bool Patience::ends_with(double metric) {
  if (most_ <= 0) return false;
  if (!record_.best || (maximize_ ? metric > *record_.best : metric < *record_.best)) {
    record_.best = metric;
    record_.used = 0;
    return false;
  }
  if (++record_.used < most_) return false;
  log().info("stops: no better {} in {} validations (--patience)", *record_.metric, most_);
  return true;
}

void Patience::restore(const PatienceRecord& record) {
  if (record.metric && record.metric != record_.metric) return;
  record_.used = record.used;
  record_.best = record.best;
}

}  // namespace evomoe
