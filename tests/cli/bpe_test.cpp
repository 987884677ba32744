// evomoe bpe through pipes, files and devices.
#include <sstream>

#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

/// A text with everything that encoders like to lose, and a BPE that was learnt from it.
class BpeCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    text_ = "def f():\r\n    return 'it''s'  \n\n\t\n  naïve \xFF\xFE\r\x01";
    for (int i = 0; i < 2000; ++i) text_ += fmt::format("\n    line {} of the text ", i % 50);
    testing::write_text(folder_ / "text", text_);
    const auto result =
        bpe(fmt::format("train {0}/text --vocab-size 300 --destdir {0}", folder_.path().string()));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    files_ = fmt::format("--gpt2-encoder-json {0}/encoder.json --gpt2-vocab-bpe {0}/vocab.bpe",
                         folder_.path().string());
  }

  static testing::CommandResult bpe(const std::string& arguments) {
    return testing::run_command(testing::program().string() + " bpe " + arguments);
  }
  std::string command(const std::string& arguments) const {
    return testing::program().string() + " bpe " + arguments + " " + files_;
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }

  testing::TemporaryFolder folder_;
  std::string text_, files_;
};

TEST_F(BpeCommand, EncodesAndDecodesFromPipeToPipeWithoutLosingAByte) {
  const auto result = testing::run_command(fmt::format(
      "cat {} | {} | {} | cat", at("text"), command("encode --workers 2"), command("decode -")));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(result.out == text_) << result.err;
  EXPECT_TRUE(std::filesystem::is_symlink("/dev/stdout"));
}

TEST_F(BpeCommand, EncodesAndDecodesFromFileToFile) {
  const auto encoded =
      testing::run_command(command(fmt::format("encode {} --output {}", at("text"), at("ids"))));
  EXPECT_EQ(encoded.exit_code, 0) << encoded.err;
  EXPECT_EQ(encoded.out, "");
  EXPECT_THAT(encoded.err, HasSubstr("1 lines end with \\r\\n"));
  const auto decoded =
      testing::run_command(command(fmt::format("decode {} --output {}", at("ids"), at("back"))));
  EXPECT_EQ(decoded.exit_code, 0) << decoded.err;
  EXPECT_TRUE(testing::read_text(folder_ / "back") == text_);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "back.tmp"));
}

TEST_F(BpeCommand, WritesThroughALinkInsteadOfReplacingIt) {
  std::filesystem::create_symlink("target", folder_ / "link");
  const auto result =
      testing::run_command(command(fmt::format("encode {} --output {}", at("text"), at("link"))));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "link"));
  EXPECT_GT(std::filesystem::file_size(folder_ / "target"), 0U);
}

TEST_F(BpeCommand, NamesWhatCannotBeReadOrWritten) {
  const auto expect = [&](const std::string& arguments, const std::vector<std::string>& words) {
    const auto result = testing::run_command(command(arguments));
    EXPECT_EQ(result.exit_code, 1) << arguments;
    for (const auto& word : words) EXPECT_THAT(result.err, HasSubstr(word)) << arguments;
  };
  expect("encode " + at("none"), {at("none"), "cannot be read"});
  expect("encode " + folder_.path().string(), {"it is a folder"});
  expect("encode " + at("text") + " --output " + at("none/ids"), {at("none/ids"), "folder"});
  expect("encode " + at("text") + " --output /dev/full", {"cannot be written"});
  testing::write_text(folder_ / "words", "1 2\nthree\n");
  expect("decode " + at("words") + " --output " + at("back"), {"words:2", "three"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "back.tmp"));
  const auto piped = testing::run_command("echo 1 x | " + command("decode --output " + at("back")));
  EXPECT_THAT(piped.err, HasSubstr("stdin:1: `x`"));
}

}  // namespace
}  // namespace evomoe
