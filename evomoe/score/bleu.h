#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// BLEU (Papineni et al., "BLEU: a method for automatic evaluation of machine translation", ACL
/// 2002) by the two definitions that papers quote.
namespace evomoe {

/// Sums over sentences; of n-grams of 1 to 4 words.
struct BleuCounts {
  std::array<int64_t, 4> matched = {};  ///< in the system's and, as often, in the reference's
  std::array<int64_t, 4> total = {};    ///< in the system's
  int64_t system_length = 0, reference_length = 0;

  BleuCounts& operator+=(const BleuCounts& other);
};

/// BLEU of token numbers, as fairseq counts it: no smoothing; padding before and padding and ends
/// behind a sentence do not count (but for one token of an empty sentence); an unknown token of the
/// reference matches nothing.
class TokenBleu {
 public:
  struct Special {
    int64_t pad = 1, eos = 2, unk = 3;
  };
  explicit TokenBleu(const Special& special) : special_(special) {}

  void add(std::vector<int64_t> reference, std::vector<int64_t> system);
  /// Other sentences, counted by a TokenBleu of the same kind.
  void add(const BleuCounts& counts) { counts_ += counts; }
  /// Forgets what was added. `smooth`: one match of two and more words is taken as given (the
  /// "+1" of sentence scores).
  void reset(bool smooth);

  const BleuCounts& counts() const { return counts_; }
  /// In percent. `order`: greatest n, 1 to 4. Error: nothing was added.
  double score(int64_t order = 4) const;
  /// `BLEU4 = 27.31, 58.9/33.0/21.1/13.9 (BP=1.000, ratio=1.012, syslen=62362, reflen=61616)`
  std::string result_line(int64_t order = 4) const;

 private:
  double brevity() const;
  double precision(size_t n) const;

  Special special_;
  BleuCounts counts_;
};

/// BLEU of text, as sacreBLEU counts it (Post, "A call for clarity in reporting BLEU scores", WMT
/// 2018; its version 2): tokenized here, with exponential smoothing, one reference.
class TextBleu {
 public:
  struct Options {
    std::string tokenize = "13a";  ///< 13a | none | intl | char
    bool lowercase = false;
  };
  /// UsageError: a tokenizer that is not there.
  explicit TextBleu(Options options);

  void add(std::string_view reference, std::string_view system);
  /// Other sentences, counted by a TextBleu of the same options.
  void add(const BleuCounts& counts) { counts_ += counts; }

  const BleuCounts& counts() const { return counts_; }
  double score() const;  ///< in percent
  /// `BLEU = 48.53 82.4/50.0/45.5/37.5 (BP = 0.943 ratio = 0.944 hyp_len = 17 ref_len = 18)`
  std::string result_line() const;
  /// What a report must say beside the number, in sacreBLEU's form:
  /// `nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:evomoe`
  std::string signature() const;

 private:
  std::vector<double> precisions() const;  ///< in percent
  double brevity() const;

  Options options_;
  BleuCounts counts_;
};

}  // namespace evomoe
