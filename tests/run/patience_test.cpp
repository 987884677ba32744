#include "evomoe/run/patience.h"

#include <gtest/gtest.h>

namespace evomoe {
namespace {

CheckpointOptions patient_for(int64_t validations) {
  CheckpointOptions options;
  options.patience = validations;
  options.best_checkpoint_metric = "ppl";
  return options;
}

TEST(Patience, EndsWithTheLastValidationThatMayBeNoBetter) {
  Patience patience(patient_for(2));
  EXPECT_FALSE(patience.ends_with(5));
  EXPECT_FALSE(patience.ends_with(5)) << "as good is no better";
  EXPECT_FALSE(patience.ends_with(4)) << "begins anew";
  EXPECT_FALSE(patience.ends_with(6));
  EXPECT_FALSE(patience.is_used_up());
  EXPECT_TRUE(patience.ends_with(7));
  EXPECT_TRUE(patience.is_used_up());
}

TEST(Patience, OfAMetricThatGrowsWaitsForALargerOne) {
  auto options = patient_for(1);
  options.maximize_best_checkpoint_metric = true;
  Patience patience(options);
  EXPECT_FALSE(patience.ends_with(5));
  EXPECT_FALSE(patience.ends_with(6));
  EXPECT_TRUE(patience.ends_with(5.5));
}

TEST(Patience, WithoutALimitNothingIsCounted) {
  Patience patience(patient_for(-1));
  for (const double metric : {1.0, 2.0, 3.0}) EXPECT_FALSE(patience.ends_with(metric));
  EXPECT_EQ(patience.record(), (PatienceRecord{.used = 0, .best = {}, .metric = "ppl"}));
}

TEST(Patience, GoesOnWithTheRecordOfItsOwnMetric) {
  Patience before(patient_for(2));
  before.ends_with(5);
  before.ends_with(6);
  Patience after(patient_for(2));
  after.restore(before.record());
  EXPECT_TRUE(after.ends_with(6));

  auto record = before.record();
  record.metric = "loss";
  Patience of_another(patient_for(2));
  of_another.restore(record);
  EXPECT_FALSE(of_another.ends_with(6));

  record.metric.reset();  // older checkpoints do not say which it is
  Patience of_older(patient_for(2));
  of_older.restore(record);
  EXPECT_TRUE(of_older.ends_with(6));
}

}  // namespace
}  // namespace evomoe
