// A method of another program, and the page that explains how to write one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/dense_router.h"
#include "evomoe/routing/registry.h"
#include "evomoe/routing/topk_router.h"
#include "tests/routing/word_router.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

RouterOptions word_options() {
  RouterOptions options;
  options.method = "word";
  options.model_dim = 8;
  options.num_experts = 4;
  return options;
}

TEST(Registry, ANewMethodIsOneClassAndOneLine) {
  register_router("word", router_method<WordRouter, CapacityOptions, WordOptions>());
  EXPECT_THAT(router_names(), ::testing::Contains("word"));
  RoutingContext context;
  context.token_id_T = torch::tensor({4, 9, 4, 7, 1, 2}, torch::kInt64);
  const auto router = make_router(word_options());
  const auto routing = router->route(torch::rand({6, 8}), context);
  EXPECT_TRUE(torch::equal(routing.expert_A(), torch::tensor({0, 0, 1, 1, 2, 3}, torch::kInt64)));
  EXPECT_TRUE(torch::equal(routing.token_A, torch::tensor({0, 2, 1, 4, 5, 3}, torch::kInt64)));
  EXPECT_TRUE(torch::equal(routing.stats.load_E, torch::tensor({2, 2, 1, 1}, torch::kInt64)));
  EXPECT_EQ(router->capacity(6, /*training=*/true), 2);
  auto options = word_options();
  options.get<WordOptions>() = {.offset = 1, .temperature = 2};
  const auto moved = make_router(options)->route(torch::zeros({6, 8}), context);
  EXPECT_TRUE(torch::equal(moved.expert_A(), torch::tensor({0, 1, 1, 2, 2, 3}, torch::kInt64)));
  options.get<TopkOptions>().k = 3;
  EXPECT_THAT([&] { make_router(options); },
              ThrowsMessage<UsageError>(HasSubstr("--moe-k 3 does nothing for --moe-router word")));
  options = word_options();
  options.method = "switch";
  options.get<WordOptions>().offset = 1;
  EXPECT_THAT([&] { make_router(options); },
              ThrowsMessage<UsageError>(HasSubstr("--word-offset 1 does nothing")));
  EXPECT_THAT([] { register_router("switch", router_method<DenseRouter>()); },
              ThrowsMessage<Error>(HasSubstr("exists already")));
}

TEST(Registry, DescribesTheOptionsOfAMethod) {
  const auto names_of = [](const std::string& method) {
    OptionSet options;
    OptionTable table("", "");
    describe_method_options(table, options, method);
    std::vector<std::string> names;
    for (const auto& option : table.options()) names.push_back(option->name());
    return names;
  };
  EXPECT_THAT(names_of("topk"),
              ::testing::ElementsAre("moe-train-capacity-token-fraction",
                                     "moe-eval-capacity-token-fraction", "moe-drop-policy",
                                     "moe-capacity-scope", "moe-k", "moe-no-normalize-topk"));
  EXPECT_THAT(names_of("dense"), ::testing::IsEmpty());
  EXPECT_THAT([&] { names_of("topq"); },
              ThrowsMessage<UsageError>(HasSubstr("did you mean topk?")));
}

TEST(Docs, TheExampleOfRoutingMdIsTheOneThatIsTestedHere) {
  const auto page = testing::read_text(testing::source_dir() / "docs/routing.md");
  const auto example = testing::read_text(testing::source_dir() / "tests/routing/word_router.h");
  EXPECT_NE(page.find("```cpp\n" + example + "```"), std::string::npos)
      << "docs/routing.md must hold tests/routing/word_router.h, letter by letter";
}

}  // namespace
}  // namespace evomoe
