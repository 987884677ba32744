#include "evomoe/data/example_files.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Examples = std::vector<Example>;

class ExampleFiles : public ::testing::Test {
 protected:
  Examples json(const std::string& text) {
    testing::write_text(folder_ / "x.jsonl", text);
    BadRows bad_rows(/*skip=*/false);
    return read_json_examples(folder_ / "x.jsonl", bad_rows);
  }
  Examples pairs(const std::string& prompts, const std::string& answers) {
    testing::write_text(folder_ / "x.prompt", prompts);
    testing::write_text(folder_ / "x.answer", answers);
    return read_pair_examples(folder_ / "x");
  }
  /// `line` behind a sound first line.
  void expect_refused(const std::string& line, std::initializer_list<std::string> words) {
    const std::string sound = R"({"prompt": "a", "answer": "b"})";
    SCOPED_TRACE(line);
    const auto read = [&] { json(sound + "\n" + line + "\n" + sound + "\n"); };
    expect_error(read, {"x.jsonl:2: "});
    expect_error(read, words);
    expect_named_once(read, "x.jsonl");
  }
  testing::TemporaryFolder folder_;
};

TEST_F(ExampleFiles, AnAnswerHasOneOfThreeNames) {
  EXPECT_EQ(json(R"({"prompt": "a", "completion": "b"}
{"response": " c\nd ", "prompt": "", "id": 3}

{"prompt": "\u00e9", "answer": "e"}
)"),
            (Examples{{"a", "b"}, {"", " c\nd "}, {"é", "e"}}));
  EXPECT_EQ(
      json("{\"prompt\": \"a\", \"answer\": \"b\"}\r\n{\"prompt\": \"c\", \"answer\": \"d\"}"),
      (Examples{{"a", "b"}, {"c", "d"}}))
      << "a whole last line needs no end";
}

TEST_F(ExampleFiles, TheLastMessageAnswersThoseBefore) {
  const auto message = [](const char* role, const char* content) {
    return fmt::format(R"({{"role": "{}", "content": "{}"}})", role, content);
  };
  const std::vector<std::string> messages = {
      message("system", "Be brief."), message("user", "2+2?"), message("assistant", "4"),
      message("user", "And 3+3?"), message("assistant", "6")};
  EXPECT_EQ(
      json(fmt::format(R"({{"messages": [{}]}})", fmt::join(messages, ", "))),
      (Examples{{"System: Be brief.\nUser: 2+2?\nAssistant: 4\nUser: And 3+3?\nAssistant:", "6"}}));
}

TEST_F(ExampleFiles, BadLinesAreRefusedWithTheirPlace) {
  expect_refused(R"({"prompt": "a"})", {"the prompt has no answer", "\"prompt\"", "completion"});
  expect_refused(R"({"answer": "a"})", {"neither \"prompt\" nor \"messages\"", "\"answer\""});
  expect_refused(R"({"instruction": "a", "output": "b"})", {"\"instruction\", \"output\""});
  expect_refused(R"({"prompt": "a", "answer": "b", "messages": []})", {"both"});
  expect_refused(R"({"prompt": 3, "answer": "b"})", {"\"prompt\" is a number", "a string"});
  expect_refused(R"({"prompt": "a", "answer": ["b"]})", {"\"answer\" is an array", "a string"});
  expect_refused(R"({"prompt": "a", "response": null})", {"\"response\" is null"});
  expect_refused(R"({"prompt": "a", "answer": "b", "response": "c"})", {"answer, response"});
  expect_refused(R"({"prompt": "a", "answer": " \n\t"})", {"the answer is empty"});
  expect_refused(R"({"prompt": "a", "answer": "b", "prompt": "c"})", {"\"prompt\" comes twice"});
  expect_refused(R"({"prompt": "a", "answer": "b")", {"no JSON (at byte "});
  expect_refused(std::string("{\"prompt\": \"a\", \"answer\": \"b\"}\0{", 32),
                 {"at byte 31: a NUL byte"});
  expect_refused("a\tb", {"no JSON", "--examples pairs"});
  expect_refused(R"({"prompt": "a", "answer": "b"} {"prompt": "c", "answer": "d"})", {"no JSON"});
  expect_refused(R"(["a", "b"])", {"an array", "one object"});
  expect_refused("{\"prompt\": \"\xff\", \"answer\": \"b\"}", {"UTF-8"});
  expect_refused(R"({"messages": [{"role": "user", "content": "a"}]})", {"at least two"});
  expect_refused(R"({"messages": "a"})", {"a list"});
  expect_refused(
      R"({"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]})",
      {"the last message", "\"user\"", "assistant"});
  expect_refused(
      R"({"messages": [{"role": "tool", "content": "a"}, {"role": "assistant", "content": "b"}]})",
      {"message 1", "\"tool\"", "system, user or assistant"});
  expect_refused(R"({"messages": [{"role": "user"}, {"role": "assistant", "content": "b"}]})",
                 {"message 1", "\"content\""});
  expect_refused(
      R"({"messages": [{"role": "user", "content": null}, {"role": "assistant", "content": "b"}]})",
      {"message 1: \"content\" is null"});
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += "[";
  expect_refused(R"({"prompt": "a", "answer": "b", "x": )" + deep, {"no JSON"});
}

TEST_F(ExampleFiles, AFileThatIsCutOffInALineIsRefused) {
  expect_error([&] { json("{\"prompt\": \"a\", \"answer\": \"b\"}\n{\"prompt\": \"c\", \"ans"); },
               {"x.jsonl:2", "ends inside this line"});
  // It ends without a line end too, but these are not for want of the rest.
  const std::string begin = R"({"prompt": "a", "answer": )";
  expect_error([&] { json(begin + R"("b"})" + std::string(1, '\0')); },
               {"x.jsonl:1", "no JSON (at byte 31: a NUL byte"});
  expect_error([&] { json(begin + "1e999}"); }, {"x.jsonl:1", "number overflow"});
  expect_error([&] { json(begin + R"("\ud800"})"); }, {"x.jsonl:1", "surrogate"});
  expect_error([&] { json(begin + std::string(200, '[') + std::string(200, ']') + "}"); },
               {"x.jsonl:1", "more than 100 levels"});
  BadRows bad_rows(/*skip=*/true);
  expect_error([&] { read_json_examples(folder_ / "none.jsonl", bad_rows); }, {"none.jsonl"});
}

TEST_F(ExampleFiles, PairsAreReadLineByLine) {
  EXPECT_EQ(pairs("a b\n\nc\n", "1\n2 2\r\n3\n"),
            (Examples{{"a b", "1"}, {"", "2 2"}, {"c", "3"}}));
  expect_error([&] { pairs("a\nb\n", "1\n"); }, {"x.prompt has 2 lines", "x.answer has 1"});
  expect_error([&] { pairs("a\nb\n", "1\n \n"); }, {"x.answer:2", "the answer is empty"});
  expect_error([&] { pairs("", ""); }, {"x.prompt", "empty"});
  expect_error([&] { pairs("a\n\xff\n", "1\n2\n"); }, {"x.prompt:2", "UTF-8"});
  pairs("a\n", "1\n");
  std::filesystem::remove(folder_ / "x.answer");
  expect_error([&] { read_pair_examples(folder_ / "x"); }, {"x.answer"});
}

}  // namespace
}  // namespace evomoe
