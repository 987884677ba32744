#include "evomoe/checkpoint/load_into.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

TEST(LoadInto, CopiesIntoTheTensorsThemselves) {
  const auto a = torch::zeros({2}).requires_grad_(), b = torch::zeros({}, torch::kInt64);
  load_into({{"a", a}, {"b", b}}, {{"a", torch::ones({2})}, {"b", torch::tensor(int64_t{3})}});
  EXPECT_TRUE(torch::equal(a, torch::ones({2})));
  EXPECT_EQ(b.item<int64_t>(), 3);
  EXPECT_TRUE(a.is_leaf());
}

TEST(LoadInto, ListsAllProblemsAtOnceAndCopiesNothing) {
  const auto a = torch::zeros({2}), good = torch::zeros({2});
  const auto load = [&] {
    load_into({{"good", good}, {"a", a}, {"b", torch::zeros({3})}, {"gone", torch::zeros({1})}},
              {{"good", torch::ones({2})},
               {"a", torch::ones({2, 1})},
               {"b", torch::ones({3}, torch::kFloat64)},
               {"new", torch::ones({1})}},
              "checkpoint x");
  };
  EXPECT_THAT(load,
              ThrowsMessage<Error>(AllOf(HasSubstr("checkpoint x does not fit the model"),
                                         HasSubstr("1 missing: gone"), HasSubstr("1 unknown: new"),
                                         HasSubstr("2 of another shape or type"),
                                         HasSubstr("a (is Float [2, 1], the model has Float [2])"),
                                         HasSubstr("b (is Double [3], the model has Float [3])"))));
  EXPECT_TRUE(torch::equal(good, torch::zeros({2})));
}

TEST(LoadInto, NamesTheFirstTenOfMany) {
  TensorMap many;
  for (int i = 10; i < 40; ++i) many[fmt::format("t{}", i)] = torch::ones({1});
  EXPECT_THAT(([&] { load_into({}, many); }),
              ThrowsMessage<Error>(AllOf(HasSubstr("30 unknown: t10"), HasSubstr("t19, ..."),
                                         Not(HasSubstr("t20")))));
}

}  // namespace
}  // namespace evomoe
