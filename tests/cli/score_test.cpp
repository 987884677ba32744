// evomoe score.
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

class Score : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write_text(folder_ / "sys", "a b c d e\nThe dog, 1.5 <unk>\n\n");
    testing::write_text(folder_ / "ref", "a b c d f\nthe dog , 1.5 <unk>\nx\n");
  }
  testing::CommandResult score(const std::string& arguments) const {
    return testing::run_command(fmt::format("{} score --sys {} --ref {} {}",
                                            testing::program().string(), (folder_ / "sys").string(),
                                            (folder_ / "ref").string(), arguments));
  }
  testing::TemporaryFolder folder_;
};

TEST_F(Score, PrintsFairseqsLine) {
  // Words 4 of 5, 1 of 4 (<unk> of the reference matches nothing) and 0 of 1; pairs 3 of 4 and
  // 0 of 3; and so on. The empty line counts as one word, as in fairseq.
  EXPECT_EQ(score("").out,
            "BLEU4 = 37.20, 50.0/42.9/40.0/33.3 (BP=0.905, ratio=0.909, syslen=10, reflen=11)\n");
  EXPECT_EQ(score("--ignore-case").out,
            "BLEU4 = 38.94, 60.0/42.9/40.0/33.3 (BP=0.905, ratio=0.909, syslen=10, reflen=11)\n");
  EXPECT_EQ(score("--order 2").out,
            "BLEU2 = 41.89, 50.0/42.9 (BP=0.905, ratio=0.909, syslen=10, reflen=11)\n");
}

TEST_F(Score, PrintsSacreBleusLineAndItsSignature) {
  const auto result = score("--sacrebleu");
  EXPECT_EQ(result.out,
            "BLEU = 69.91 83.3/80.0/75.0/66.7 (BP = 0.920 ratio = 0.923 hyp_len = 12 ref_len = "
            "13)\n");
  EXPECT_THAT(result.err, HasSubstr("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp"));
}

TEST_F(Score, OfSentencesIsALineForEach) {
  EXPECT_EQ(score("--sentence-bleu").out,
            "0 BLEU4 = 75.21, 80.0/80.0/75.0/66.7 (BP=1.000, ratio=1.000, syslen=5, reflen=5)\n"
            "1 BLEU4 = 24.88, 25.0/25.0/33.3/50.0 (BP=0.779, ratio=0.800, syslen=4, reflen=5)\n"
            "2 BLEU4 = 0.00, 0.0/100.0/100.0/100.0 (BP=1.000, ratio=1.000, syslen=1, reflen=1)\n");
}

TEST_F(Score, UnequalFilesAreAnErrorWithBothCounts) {
  testing::write_text(folder_ / "sys", "a\nb\n");
  const auto result = score("");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("has 2 lines"));
  EXPECT_THAT(result.err, HasSubstr("has 3"));
}

TEST_F(Score, RefusesWhatDoesNotGoTogether) {
  EXPECT_EQ(score("--sacrebleu --sentence-bleu").exit_code, 2);
  EXPECT_EQ(score("--sacrebleu --order 2").exit_code, 2);
  EXPECT_EQ(score("--order 5").exit_code, 2);
}

TEST_F(Score, CaseIsPythons) {
  testing::write_text(folder_ / "sys", "ΟΔΥΣΣΕΥΣ ΚΑΙ ΑΣ, İSTANBUL VE ÇOK\r\n");
  testing::write_text(folder_ / "ref", "οδυσσευς και ας, i\u0307stanbul ve çok\n");
  EXPECT_THAT(score("--sacrebleu --ignore-case").out, HasSubstr("BLEU = 100.00"));
  EXPECT_THAT(score("--ignore-case").out, HasSubstr("BLEU4 = 100.00"));
}

TEST_F(Score, ReadsLinesByTheirEndsAndNamesWhatIsNotText) {
  const auto lines = score("--sacrebleu").out;
  testing::write_text(folder_ / "sys", "a b c d e\r\nThe dog, 1.5 <unk>\r\r\n");
  EXPECT_EQ(score("--sacrebleu").out, lines);
  testing::write_text(folder_ / "sys", "a b\rc\n\xE9\n");
  const auto result = score("");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, ::testing::AllOf(HasSubstr("sys:3"), HasSubstr("not UTF-8")));
}

}  // namespace
}  // namespace evomoe
