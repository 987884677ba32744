#include <algorithm>
#include <fstream>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/base/write_file.h"
#include "evomoe/corpus/input_files.h"
#include "evomoe/data/binarize.h"
#include "evomoe/data/preprocess_checks.h"
#include "evomoe/text/bpe_folder.h"
#include "evomoe/text/text_lines.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using Splits = std::vector<PreprocessResult::Split>;

/// One language of the data: what becomes of its text.
struct Side {
  std::string lang;         ///< empty: none
  std::string infix;        ///< in names of output files: `.de-en.de`
  const char* dict_option;  ///< that gives its dictionary
  fs::path given_dictionary;
  Splits splits;
  std::vector<Corpus> corpora;  ///< of the splits
  size_t train_splits = 0;
  Dictionary dictionary;

  fs::path dictionary_in(const fs::path& folder) const {
    return folder / (lang.empty() ? "dict.txt" : "dict." + lang + ".txt");
  }
  /// What fairseq's log calls it.
  std::string shown() const { return lang.empty() ? "None" : lang; }
};

/// The file of a language, which may be compressed.
std::string file_of_language(const std::string& prefix, const std::string& lang) {
  const auto name = prefix + "." + lang;
  for (const char* ending : {"", ".gz", ".zst"}) {
    if (fs::exists(name + ending)) return name + ending;
  }
  return name;
}

/// Appends a split for each part of a comma-separated list: train, train1, ...
void add_splits(const PreprocessOptions& options, const std::string& inputs,
                const std::string& name, BadRows& bad_rows, Side& side) {
  const DocumentOptions documents{.text_column = options.text_column,
                                  .megatron_eod = options.megatron_eod};
  int64_t number = 0;
  for (const auto& input : file_list(inputs, name)) {
    const auto split = number == 0 ? name : name + std::to_string(number);
    const auto source = side.lang.empty() ? input : file_of_language(input, side.lang);
    side.splits.push_back(
        {.name = split + side.infix, .lang = side.lang, .source = source, .statistics = {}});
    const auto files = side.lang.empty() ? input_files(source) : std::vector<fs::path>{source};
    // No line of a pair can be left out.
    side.corpora.emplace_back(files, documents, options.document_lines,
                              side.lang.empty() ? &bad_rows : nullptr);
    ++number;
  }
}

/// The language without a name, or the source and (unless only_source) the target.
std::vector<Side> sides_of(const PreprocessOptions& options, BadRows& bad_rows) {
  std::vector<Side> sides;
  const auto lang_of_source = options.source_lang.value_or("");
  const auto add = [&](const std::string& lang, const char* option,
                       const std::optional<std::string>& dictionary) {
    Side side{.lang = lang, .dict_option = option, .given_dictionary = dictionary.value_or("")};
    // A missing target is called None in names, as Python prints it.
    const auto target = options.target_lang.value_or("None");
    if (!lang.empty()) side.infix = fmt::format(".{}-{}.{}", lang_of_source, target, lang);
    add_splits(options, options.trainpref.value_or(""), "train", bad_rows, side);
    side.train_splits = side.splits.size();
    add_splits(options, options.validpref.value_or(""), "valid", bad_rows, side);
    add_splits(options, options.testpref.value_or(""), "test", bad_rows, side);
    sides.push_back(std::move(side));
  };
  const bool pair = options.target_lang && !options.only_source;
  // A joined dictionary may be given as that of either language.
  const bool joined = pair && options.joined_dictionary;
  const auto& src = joined && !options.srcdict ? options.tgtdict : options.srcdict;
  add(lang_of_source, "--srcdict", src);
  if (pair) add(*options.target_lang, "--tgtdict", joined ? src : options.tgtdict);
  return sides;
}

int64_t count_lines(const Corpus& corpus) {
  int64_t lines = 0;
  const auto count = [](DocumentKind, const EachItem& each_item) {
    int64_t items = 0;
    each_item([&](std::string_view) { ++items; });
    return items;
  };
  corpus.read<int64_t>({.utf8_lines = false}, count, [&](int64_t items) { lines += items; });
  return lines;
}

/// `value` as Python's `{:.3}` shows it, which always has a decimal point or an exponent: 0.0,
/// 12.5, 1e+02.
std::string python_percentage(double value) {
  if (value >= 99.95) return "1e+02";
  const auto text = fmt::format("{:.3g}", value);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

void check_options(const PreprocessOptions& options) {
  const auto &source = options.source_lang, &target = options.target_lang;
  if (target && !source) fail_usage("--target-lang {} is given without --source-lang", *target);
  if (source && !target && !options.only_source) {
    fail_usage("--source-lang {} is given without --target-lang; give it, or --only-source",
               *source);
  }
  if (source && source == target) {
    fail_usage("--source-lang and --target-lang are both `{}`; a pair needs two languages",
               *source);
  }
  if (options.joined_dictionary && options.srcdict && options.tgtdict) {
    fail_usage("a joined dictionary is one: give --srcdict or --tgtdict, not both");
  }
  check_encoding(options);
}

/// Everything that can be known to be wrong before the work begins.
void check(const PreprocessOptions& options, const std::vector<Side>& sides) {
  check_options(options);
  for (const auto& side : sides) {
    if (side.splits.empty()) {
      fail_usage("nothing to do: give at least one of --trainpref, --validpref and --testpref");
    }
    if (side.given_dictionary.empty() && side.train_splits == 0) {
      fail_usage(
          "without --trainpref there is nothing to make a dictionary from; give --trainpref or {}",
          side.dict_option);
    }
    for (const auto& corpus : side.corpora) corpus.check();
  }
  for (size_t i = 0; sides.size() == 2 && i < sides[0].splits.size(); ++i) {
    const auto& source = sides[0].splits[i].source;
    const auto& target = sides[1].splits[i].source;
    const int64_t lines = count_lines(sides[0].corpora[i]);
    const int64_t other = count_lines(sides[1].corpora[i]);
    EVOMOE_CHECK(lines == other,
                 "{} has {} lines, but {} has {}; line n of one must be the translation of line n "
                 "of the other",
                 source, lines, target, other);
  }
  for (const auto& side : sides) {
    check_no_dictionary(side.dictionary_in(options.destdir), side.given_dictionary,
                        side.dict_option);
  }
}

}  // namespace

PreprocessResult preprocess(const PreprocessOptions& options) {
  BadRows bad_rows(options.skips_bad_rows());
  auto sides = sides_of(options, bad_rows);
  check(options, sides);

  const auto bpe = given_bpe(options);
  for (auto& side : sides) {
    if (!side.given_dictionary.empty()) side.dictionary = Dictionary::load(side.given_dictionary);
  }
  make_destination(options.destdir);
  const LineEncoding encoding{bpe.get(), options.keep_whitespace};
  const auto progress = [&](const std::string& step) -> BinarizeProgress {
    if (!options.progress) return {};
    return [&options, step](int64_t done, int64_t all) { options.progress(step, done, all); };
  };

  const auto make_dictionary = [&](size_t first, size_t end, int64_t threshold, int64_t words) {
    if (!sides[first].given_dictionary.empty()) return sides[first].dictionary;
    auto corpus = sides[first].corpora.front();
    for (size_t i = first; i < end; ++i) {
      for (size_t k = i == first ? 1 : 0; k < sides[i].train_splits; ++k)
        corpus = corpus + sides[i].corpora[k];
    }
    auto dictionary = build_dictionary(corpus, static_cast<int>(options.workers), encoding,
                                       progress("dictionary"));
    dictionary.finalize(threshold, words, options.padding_factor);
    const char* side = first == 0 ? "src" : "tgt";
    EVOMOE_CHECK(dictionary.size() > Dictionary::kSpecials,
                 "{}: no word is left for the dictionary: lower --threshold{} {}, or raise "
                 "--nwords{} {} (the four special symbols count)",
                 corpus.name(), side, threshold, side, words);
    return dictionary;
  };
  const bool pair = sides.size() == 2;
  const bool joined = pair && options.joined_dictionary;
  sides[0].dictionary = make_dictionary(0, joined ? 2 : 1, options.thresholdsrc, options.nwordssrc);
  if (pair) {
    sides[1].dictionary = joined ? sides[0].dictionary
                                 : make_dictionary(1, 2, options.thresholdtgt, options.nwordstgt);
  }
  std::optional<MegatronIds> megatron;
  if (options.writes_megatron() && !options.dict_only)
    megatron.emplace(sides[0].dictionary, options.megatron_eod);
  for (const auto& side : sides) side.dictionary.save(side.dictionary_in(options.destdir));

  PreprocessResult result;
  result.dictionary_size = sides[0].dictionary.size();
  if (pair) result.target_dictionary_size = sides[1].dictionary.size();
  std::ofstream report(fs::path(options.destdir) / "preprocess.log", std::ios::app);
  const auto tell = [&](const std::string& line) {
    report << line << '\n';
    result.report.push_back(line);
  };
  for (auto& side : sides) {
    tell(fmt::format("[{}] Dictionary: {} types", side.shown(), side.dictionary.size()));
    if (options.dict_only) continue;
    for (size_t i = 0; i < side.splits.size(); ++i) {
      auto& split = side.splits[i];
      split.statistics = binarize({.source = side.corpora[i],
                                   .output_prefix = fs::path(options.destdir) / split.name,
                                   .dictionary = &side.dictionary,
                                   .workers = static_cast<int>(options.workers),
                                   .encoding = encoding,
                                   .megatron = megatron ? &*megatron : nullptr,
                                   .progress = progress(split.name)});
      const auto& statistics = split.statistics;
      tell(fmt::format("[{}] {}: {} sents, {} tokens, {}% replaced by {}", side.shown(),
                       split.source, statistics.sentences, statistics.tokens,
                       python_percentage(100.0 * static_cast<double>(statistics.replaced) /
                                         static_cast<double>(statistics.tokens)),
                       side.dictionary.symbol(Dictionary::kUnk)));
      const auto is_megatron = [](const fs::path& file) {
        return format_of(file) == InputFormat::kMegatron;
      };
      if (statistics.replaced > 0 && std::ranges::any_of(side.corpora[i].files(), is_megatron)) {
        log().warn(
            "{}: {} of its tokens are no symbols of the dictionary, and became {}; is the "
            "dictionary of the same tokenizer, and what does --megatron-eod end documents with?",
            split.source, statistics.replaced, side.dictionary.symbol(Dictionary::kUnk));
      }
      result.splits.push_back(split);
    }
  }
  result.bad_rows = bad_rows.count();
  if (result.bad_rows > 0) tell(bad_rows.summary());
  // The BPE goes with the data, so that what is trained on it can be given raw text. Last, so that
  // a new folder with vocab.bpe or tokenizer.json is a complete one.
  copy_bpe(options, options.destdir);
  return result;
}

}  // namespace evomoe
