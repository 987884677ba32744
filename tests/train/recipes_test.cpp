// The recipes hold together: each is taken as the scripts lay it over another one.
#include <gtest/gtest.h>

#include "evomoe/config/option_table.h"
#include "evomoe/train/settings.h"
#include "evomoe/train/validate_options.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

void take(const std::vector<fs::path>& files) {
  std::vector<std::string> arguments = {"data-bin"};
  for (const auto& file : files) {
    arguments.emplace_back("--config");
    arguments.push_back(file.string());
  }
  TrainOptions options;
  OptionTable table("train", "");
  options.describe(table);
  ASSERT_NO_THROW({
    table.parse(arguments);
    validate_options(options);
    check_settings(options);
  }) << files.back();
}

TEST(Recipes, EachIsTakenOverTheOneThatItIsLaidOver) {
  const auto folder = testing::source_dir() / "recipes";
  int count = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) continue;  // plans of comparisons
    const auto stem = entry.path().stem().string();  // demo, demo.switch
    const auto base = stem == "glue" ? "roberta_books" : stem.substr(0, stem.find('.'));
    std::vector<fs::path> files = {folder / (base + ".yaml")};
    if (entry.path() != files.front()) files.push_back(entry.path());
    take(files);
    ++count;
  }
  EXPECT_GT(count, 10);
}

}  // namespace
}  // namespace evomoe
