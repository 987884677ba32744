#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "evomoe/corpus/bad_rows.h"

namespace evomoe {

/// A prompt and its answer, as text.
struct Example {
  std::string prompt, answer;

  bool operator==(const Example&) const = default;
};

/// Reads a file of JSON lines: each line is an object, {"prompt": ..., "answer": ...}, where the
/// answer may be called `completion` or `response` too, or {"messages": [{"role": ..., "content":
/// ...}, ...]}; other keys are ignored, as are lines of white space alone.
///
/// Messages of the roles system, user and assistant, of which the last is the assistant's, become
/// one prompt: each but the last is a line `System: ...`, `User: ...` or `Assistant: ...`, behind
/// them stands `Assistant:`, and the last message is the answer.
///
/// Lines of which no example can be made go to `bad_rows`, which stops at them or leaves them out:
/// no JSON, or none of these objects; a prompt or answer that is no string; an answer of white
/// space alone; a last line that is cut off. The file may be compressed (.gz, .zst). It may have no
/// example.
std::vector<Example> read_json_examples(const std::filesystem::path& path, BadRows& bad_rows);

/// Reads line n of `{prefix}.prompt` and line n of `{prefix}.answer` as an example. Errors: the
/// files have unequally many lines, or none; an answer of white space alone; a line that is not
/// UTF-8.
std::vector<Example> read_pair_examples(const std::filesystem::path& prefix);

}  // namespace evomoe
