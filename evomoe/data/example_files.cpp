#include "evomoe/data/example_files.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/corpus/json_rows.h"
#include "evomoe/corpus/line_pieces.h"
#include "evomoe/text/text_lines.h"

namespace evomoe {
namespace {

using nlohmann::json;

constexpr std::array kAnswers = {"answer", "completion", "response"};

// The functions below throw why a line is no example. Who catches it adds the line's place.

/// `at` goes in front: `message 2: `.
const std::string& text_of(const json& object, const std::string& key, const std::string& at = "") {
  const auto& value = object.at(key);
  EVOMOE_CHECK(value.is_string(), "{}\"{}\" is {}; it must be a string", at, key,
               type_words(value));
  return value.get_ref<const std::string&>();
}

/// The last message is the answer to all before it.
Example of_messages(const json& messages) {
  static const std::map<std::string, std::string> names = {
      {"system", "System"}, {"user", "User"}, {"assistant", "Assistant"}};
  EVOMOE_CHECK(messages.is_array() && messages.size() > 1,
               "\"messages\" must be a list of at least two messages, the last of which is the "
               "assistant's answer");
  Example example;
  std::string last;
  for (size_t i = 0; i < messages.size(); ++i) {
    const auto& message = messages[i];
    const auto at = fmt::format("message {}: ", i + 1);
    for (const auto* key : {"role", "content"}) {
      EVOMOE_CHECK(message.is_object() && message.contains(key),
                   "{}it is no object with \"role\" and \"content\"", at);
    }
    last = text_of(message, "role", at);
    const auto& content = text_of(message, "content", at);
    const auto name = names.find(last);
    EVOMOE_CHECK(name != names.end(), "{}its role is \"{}\"; it may be system, user or assistant",
                 at, last);
    if (i + 1 == messages.size()) {
      example.prompt += "Assistant:";
      example.answer = content;
    } else {
      example.prompt += fmt::format("{}: {}\n", name->second, content);
    }
  }
  EVOMOE_CHECK(last == "assistant",
               "the last message is of the role \"{}\"; it must be the assistant's, which is the "
               "answer to learn",
               last);
  return example;
}

Example of_object(const json& object) {
  const bool prompt = object.contains("prompt"), messages = object.contains("messages");
  EVOMOE_CHECK(prompt != messages,
               "the object has {} \"prompt\" {} \"messages\" (it has {}); give one of them",
               prompt ? "both" : "neither", prompt ? "and" : "nor", shown_keys(object));
  if (messages) return of_messages(object.at("messages"));
  std::vector<std::string> found;
  for (const auto* key : kAnswers) {
    if (object.contains(key)) found.emplace_back(key);
  }
  EVOMOE_CHECK(!found.empty(), "the prompt has no answer: the object has {}, and needs one of {}",
               shown_keys(object), fmt::join(kAnswers, ", "));
  EVOMOE_CHECK(found.size() == 1, "the prompt has several answers: {}; leave all but one out",
               fmt::join(found, ", "));
  return {text_of(object, "prompt"), text_of(object, found.front())};
}

void check_answer(const Example& example) {
  EVOMOE_CHECK(!strip(example.answer).empty(),
               "the answer is empty; leave the example out, or give it an answer");
}

/// Of a line of `piece`.
Example of_line(std::string_view line, std::string_view piece) {
  EVOMOE_CHECK(is_utf8(line), "{}", kNotUtf8);
  std::string repeated;
  const auto object = parse_json(line, &repeated);
  EVOMOE_CHECK(!object.is_discarded() || !is_cut_off(line, piece), "{}", kCutOff);
  EVOMOE_CHECK(!object.is_discarded(),
               "this is no JSON ({}); each line must be one object, like {{\"prompt\": \"...\", "
               "\"answer\": \"...\"}} (two text files are read with --examples pairs)",
               json_problem(line).reason);
  EVOMOE_CHECK(object.is_object(),
               "this is {}, and each line must be one object, like {{\"prompt\": \"...\", "
               "\"answer\": \"...\"}}",
               type_words(object));
  EVOMOE_CHECK(repeated.empty(),
               "\"{}\" comes twice in one object; which value is meant cannot be known", repeated);
  auto example = of_object(object);
  check_answer(example);
  return example;
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  const MappedFile file(path);
  warn_of_byte_order_mark(file.bytes(), path.string());
  std::vector<std::string> lines;
  for_each_line(file.bytes(), [&](std::string_view line) {
    lines.emplace_back(line);
    require_utf8(line, fmt::format("{}:{}", path.string(), lines.size()));
  });
  return lines;
}

}  // namespace

std::vector<Example> read_json_examples(const std::filesystem::path& path, BadRows& bad_rows) {
  LinePieces lines(path);
  std::vector<Example> examples;
  int64_t number = 0;
  for (std::string piece; lines.next(piece);) {
    for_each_line(piece, [&](std::string_view line) {
      ++number;
      if (strip(line).empty()) return;
      try {
        examples.push_back(of_line(line, piece));
      } catch (const Error& error) {
        bad_rows.add(path.string(), number, fmt::format("{}:{}", path.string(), number),
                     error.what());
      }
    });
  }
  return examples;
}

std::vector<Example> read_pair_examples(const std::filesystem::path& prefix) {
  const std::filesystem::path prompt_path = prefix.string() + ".prompt",
                              answer_path = prefix.string() + ".answer";
  auto prompts = lines_of(prompt_path), answers = lines_of(answer_path);
  EVOMOE_CHECK(prompts.size() == answers.size(),
               "{} has {} lines, but {} has {}; line n of one must answer line n of the other",
               prompt_path.string(), prompts.size(), answer_path.string(), answers.size());
  EVOMOE_CHECK(!prompts.empty(), "{}: it is empty; a split needs at least one line",
               prompt_path.string());
  std::vector<Example> examples;
  for (size_t i = 0; i < prompts.size(); ++i) {
    examples.push_back({std::move(prompts[i]), std::move(answers[i])});
    try {
      check_answer(examples.back());
    } catch (const Error& error) {
      fail("{}:{}: {}", answer_path.string(), i + 1, error.what());
    }
  }
  return examples;
}

}  // namespace evomoe
