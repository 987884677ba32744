#include "evomoe/text/word_joiner.h"

#include "evomoe/text/text_lines.h"

namespace evomoe {

void WordJoiner::add(std::string_view bytes, double log_probability) {
  line_ += bytes;
  tokens_.push_back({line_.size(), log_probability});
}

std::vector<ScoredWord> WordJoiner::end_line(double log_probability) {
  std::vector<ScoredWord> words;
  std::vector<size_t> ends;
  for_each_word(line_, [&](std::string_view word) {
    words.push_back({std::string(word), 0});
    ends.push_back(static_cast<size_t>(word.data() + word.size() - line_.data()));
  });
  words.push_back({"</s>", log_probability});
  size_t at = 0;
  for (const auto& token : tokens_) {
    while (at < ends.size() && ends[at] < token.end) ++at;
    words[at].log_probability += token.log_probability;
  }
  line_.clear();
  tokens_.clear();
  return words;
}

std::vector<ScoredWord> WordJoiner::finish() {
  auto words = end_line(0);
  const double rest = words.back().log_probability;
  words.pop_back();
  if (!words.empty()) words.back().log_probability += rest;
  return words;
}

}  // namespace evomoe
