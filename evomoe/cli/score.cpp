#include "evomoe/base/error.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/config/validate_options.h"
#include "evomoe/score/bleu.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/unicode.h"

namespace evomoe {
namespace {

std::vector<std::string> read_lines(const std::string& option, const std::string& path) {
  LineReader reader(option, path);
  std::vector<std::string> lines;
  for (std::string line; reader.next(line);) {
    require_utf8(line, reader.where());
    lines.push_back(line);
  }
  return lines;
}

/// Numbers of the words; words that are new get one.
std::vector<int64_t> tokens_of(Dictionary& dictionary, const std::string& line) {
  std::vector<int64_t> tokens;
  for_each_word(line, [&](std::string_view word) { tokens.push_back(dictionary.add(word)); });
  tokens.push_back(Dictionary::kEos);
  return tokens;
}

}  // namespace

int score_command(const std::vector<std::string>& arguments) {
  ScoreOptions flags;
  const auto bind = [](OptionTable& table, ScoreOptions& o) { describe(table, o); };
  if (!parse_command("score", arguments, flags, bind)) return 0;
  validate_options(flags);
  auto system = read_lines("sys", flags.sys), reference = read_lines("ref", flags.ref);
  EVOMOE_CHECK(system.size() == reference.size(),
               "--sys {} has {} lines, --ref {} has {}: there must be one reference for each "
               "translation, in the same order",
               flags.sys, system.size(), flags.ref, reference.size());
  EVOMOE_CHECK(!system.empty(), "--sys {}: there is no line to score", flags.sys);
  if (flags.sacrebleu) {
    TextBleu bleu({.tokenize = flags.sacrebleu_tokenizer, .lowercase = flags.ignore_case});
    for (size_t i = 0; i < system.size(); ++i) bleu.add(reference[i], system[i]);
    fmt::print("{}\n", bleu.result_line());
    log().info("{}", bleu.signature());
    return 0;
  }
  Dictionary dictionary;
  TokenBleu bleu({});
  for (size_t i = 0; i < system.size(); ++i) {
    if (flags.ignore_case) {
      system[i] = lower_case(system[i]);
      reference[i] = lower_case(reference[i]);
    }
    if (flags.sentence_bleu) bleu.reset(/*smooth=*/true);
    const auto of_system = tokens_of(dictionary, system[i]);
    bleu.add(tokens_of(dictionary, reference[i]), of_system);
    if (flags.sentence_bleu) fmt::print("{} {}\n", i, bleu.result_line(flags.order));
  }
  if (!flags.sentence_bleu) fmt::print("{}\n", bleu.result_line(flags.order));
  return 0;
}

}  // namespace evomoe
