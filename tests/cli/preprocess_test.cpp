// `evomoe preprocess` on pairs of languages, as a user types it.
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class PreprocessCommand : public Commands {
 protected:
  void SetUp() override {
    testing::write_text(folder_ / "train.de", "ein hund\nzwei hunde\n");
    testing::write_text(folder_ / "train.en", "a dog\ntwo dogs\n");
  }
  std::string arguments() const {
    return fmt::format("preprocess -s de -t en --trainpref {0}/train --destdir {0}/pair ",
                       folder_.path().string());
  }
};

TEST_F(PreprocessCommand, MakesAPairAndPrintsALineForEachFile) {
  const auto result = evomoe(arguments() + "--joined-dictionary --dataset-impl mmap");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("[de] Dictionary: 16 types"),
                                HasSubstr("train.en: 2 sents, 6 tokens, 0.0% replaced by <unk>")));
  EXPECT_EQ(testing::read_text(folder_ / "pair/preprocess.log"), result.out);
  for (const auto* name :
       {"dict.de.txt", "dict.en.txt", "train.de-en.de.idx", "train.de-en.en.bin"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ / "pair" / name)) << name;
  }
}

TEST_F(PreprocessCommand, MakesTheDictionariesAlone) {
  const auto result = evomoe(arguments() + "--dict-only");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "pair" / "dict.de.txt"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "pair" / "dict.en.txt"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "pair" / "train.de-en.de.idx"));
}

TEST_F(PreprocessCommand, RefusesWhatItCannotDoBeforeAnyWork) {
  expect_refused(arguments() + "--align-suffix align", {"--align-suffix", "alignments"});
  expect_refused(arguments() + "--alignfile a", {"--alignfile", "alignments"});
  expect_refused(arguments() + "--dataset-impl raw", {"--dataset-impl", "raw", "mmap"});
  testing::write_text(folder_ / "train.en", "a dog\n");
  expect_refused(arguments(), {"train.de has 2 lines", "train.en has 1"}, 1);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "pair"));
}

}  // namespace
}  // namespace evomoe
