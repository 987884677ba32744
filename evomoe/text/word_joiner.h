#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace evomoe {

/// A word and the log-probability of its tokens together.
struct ScoredWord {
  std::string text;
  double log_probability = 0;
};

/// Joins the scored tokens of a text into its words, which stand between (Unicode) white space.
/// White space is scored with the word that follows it, or with the end of the line.
class WordJoiner {
 public:
  /// The next token, with its bytes in the text.
  void add(std::string_view bytes, double log_probability);
  bool at_line_start() const { return line_.empty(); }

  /// The line ends here: its words, and last the end itself as `</s>`.
  std::vector<ScoredWord> end_line(double log_probability);
  /// The words of a last line that has no end.
  std::vector<ScoredWord> finish();

 private:
  struct Token {
    size_t end;  // in line_
    double log_probability;
  };
  std::string line_;
  std::vector<Token> tokens_;
};

}  // namespace evomoe
