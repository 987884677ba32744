// What a run folder says of the data of its run, and what compare makes of it.
#include <nlohmann/json.hpp>

#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class DataRecord : public Commands {
 protected:
  void train(const std::string& run, const std::string& more = "") {
    const auto result = evomoe(train_arguments(run) + "--max-update 4 " + more);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  /// What compare says of the run `run` beside the run `first`.
  std::string compared() const {
    const auto result = evomoe(fmt::format("compare {0}/first {0}/run", folder_.path().string()));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
};

TEST_F(DataRecord, TheSameDataAreKnownAgainWhereverTheyLieAndWhateverTheSeed) {
  train("first");
  fs::rename(folder_ / "bin", folder_ / "elsewhere");
  fs::create_directory_symlink(folder_ / "elsewhere", folder_ / "bin");
  testing::write_text(folder_ / "bin/valid.txt", "Not what is scored.\n");
  train("run", "--seed 2 --lr 0.01 --batch-size 2");
  EXPECT_THAT(compared(), AllOf(Not(HasSubstr("not comparable")), Not(HasSubstr("Note")),
                                HasSubstr("is best")));
}

TEST_F(DataRecord, AnotherTextOfTheSameSizeIsSeen) {
  train("first");
  // The same words in another order: as many tokens, the same dictionary.
  auto text = testing::read_text(folder_ / "valid.txt");
  const auto line = text.find('\n') + 1;
  testing::write_text(folder_ / "valid.txt", text.substr(line) + text.substr(0, line));
  const auto again = evomoe(
      fmt::format("preprocess --only-source --srcdict {0}/bin/dict.txt --trainpref {0}/train.txt "
                  "--validpref {0}/valid.txt --destdir {0}/other",
                  folder_.path().string()));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  fs::rename(folder_ / "bin", folder_ / "old");
  fs::rename(folder_ / "other", folder_ / "bin");
  train("run");
  EXPECT_THAT(compared(), AllOf(HasSubstr("not comparable"), HasSubstr("other text in the")));
}

TEST_F(DataRecord, OtherLimitsAreSeenWhereLongerItemsAreLeftOut) {
  const std::string limits = "--max-target-positions 32 --max-tokens-valid 64 ";
  train("first");
  train("run", limits);
  EXPECT_THAT(compared(), Not(HasSubstr("not comparable")));
  fs::remove_all(folder_ / "first");
  fs::remove_all(folder_ / "run");
  const std::string leave_out = "--skip-invalid-size-inputs-valid-test ";
  train("first", leave_out);
  train("run", limits + leave_out);
  EXPECT_THAT(compared(), AllOf(HasSubstr("--max-target-positions 32 against 16"),
                                HasSubstr("--max-tokens-valid 64 against not given")));
}

TEST_F(DataRecord, AnotherVocabularyAndOtherValidationsAreSeen) {
  train("first");
  train("run", "--tokens-per-sample 8 --max-valid-steps 2");
  EXPECT_THAT(compared(), AllOf(HasSubstr("--tokens-per-sample 8 against 16"),
                                HasSubstr("--max-valid-steps 2 against not given")));
  fs::remove_all(folder_ / "run");
  fs::remove_all(folder_ / "bin");
  const auto again = evomoe(
      fmt::format("preprocess --only-source --nwordssrc 12 --trainpref {0}/train.txt --validpref "
                  "{0}/valid.txt --destdir {0}/bin",
                  folder_.path().string()));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  train("run");
  EXPECT_THAT(compared(), AllOf(HasSubstr("not comparable"), HasSubstr("vocabularies of")));
}

}  // namespace
}  // namespace evomoe
