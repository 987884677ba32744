#include <unistd.h>

#include <fstream>
#include <map>

#include "evomoe/base/error.h"
#include "evomoe/base/write_file.h"
#include "evomoe/data/binarize.h"
#include "evomoe/data/text_lines.h"

namespace evomoe {
namespace {

using Splits = std::vector<PreprocessResult::Split>;

/// The parts of a comma-separated list.
std::vector<std::string> parts_of(const std::string& files, const std::string& flag) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < files.size();) {
    const size_t end = std::min(files.find(',', begin), files.size());
    if (end == begin) fail_usage("--{} `{}` has an empty file name", flag, files);
    parts.push_back(files.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// The languages of the sides; one without a name for a text alone.
std::vector<std::string> languages_of(const PreprocessOptions& options) {
  std::vector<std::string> languages = {options.source_lang};
  if (!options.target_lang.empty()) languages.push_back(options.target_lang);
  return languages;
}

/// Appends a split for each file of a comma-separated list and each side: train, train1, ...
void add_splits(const PreprocessOptions& options, const std::string& files, const std::string& name,
                Splits& splits) {
  int64_t number = 0;
  for (const auto& part : parts_of(files, name + "pref")) {
    const auto numbered = number == 0 ? name : name + std::to_string(number);
    ++number;
    for (const auto& lang : languages_of(options)) {
      if (lang.empty()) {
        splits.push_back({numbered, lang, part, {}});
        continue;
      }
      const auto& target = options.target_lang;
      const auto pair = options.source_lang + "-" + (target.empty() ? "None" : target);
      splits.push_back({numbered + "." + pair + "." + lang, lang, part + "." + lang, {}});
    }
  }
}

std::string dictionary_name(const std::string& lang) {
  return lang.empty() ? "dict.txt" : "dict." + lang + ".txt";
}

/// Line n of one side is the translation of line n of the other.
void check_pairs(const Splits& splits) {
  for (size_t i = 0; i + 1 < splits.size(); i += 2) {
    const auto count = [](const std::filesystem::path& file) {
      int64_t lines = 0;
      for_each_line(MappedFile(file).bytes(), [&](std::string_view) { ++lines; });
      return lines;
    };
    const auto source = count(splits[i].source), target = count(splits[i + 1].source);
    EVOMOE_CHECK(source == target,
                 "{} has {} lines but {} has {}: line n of one must be the translation of line n of "
                 "the other",
                 splits[i].source.string(), source, splits[i + 1].source.string(), target);
  }
}

/// A dictionary that is given; empty: it is to be made.
std::filesystem::path given_dictionary(const PreprocessOptions& options, size_t side) {
  if (options.joined_dictionary)
    return options.srcdict.empty() ? options.tgtdict : options.srcdict;
  return side == 0 ? options.srcdict : options.tgtdict;
}

/// Everything that can be known to be wrong before the work begins.
void check(const PreprocessOptions& options, const Splits& splits, bool has_train) {
  if (splits.empty()) {
    fail_usage("nothing to do: give at least one of --trainpref, --validpref and --testpref");
  }
  const auto languages = languages_of(options);
  for (size_t side = 0; side < languages.size(); ++side) {
    if (given_dictionary(options, side).empty() && !has_train) {
      fail_usage(
          "without --trainpref there is nothing to make a dictionary from; give --trainpref or "
          "--{}",
          side == 0 ? "srcdict" : "tgtdict");
    }
  }
  if (options.gpt2_encoder_json.empty() != options.gpt2_vocab_bpe.empty()) {
    fail_usage("a GPT-2 BPE needs both files; give --gpt2-encoder-json and --gpt2-vocab-bpe");
  }
  if (options.keep_whitespace && options.gpt2_encoder_json.empty()) {
    fail_usage(
        "--keep-whitespace needs --bpe gpt2: without a BPE text is split at white space, which is "
        "no part of it");
  }
  if (options.workers < 1) fail_usage("--workers is {}; it must be at least 1", options.workers);
  for (const auto& split : splits) {
    EVOMOE_CHECK(!MappedFile(split.source).bytes().empty(),
                 "{}: it is empty; a split needs at least one line", split.source.string());
  }
  std::error_code error;
  std::filesystem::create_directories(options.destdir, error);
  EVOMOE_CHECK(std::filesystem::is_directory(options.destdir) &&
                   ::access(options.destdir.c_str(), W_OK) == 0,
               "cannot write into --destdir {}{}; check its permissions or choose another folder",
               options.destdir.string(), error ? ": " + error.message() : "");
  for (size_t side = 0; side < languages.size(); ++side) {
    const auto dictionary = options.destdir / dictionary_name(languages[side]);
    EVOMOE_CHECK(
        !given_dictionary(options, side).empty() || !std::filesystem::exists(dictionary),
        "{} is already there; use it with --{} {}, or remove it, or choose another --destdir",
        dictionary.string(), side == 0 ? "srcdict" : "tgtdict", dictionary.string());
  }
  if (languages.size() == 2) check_pairs(splits);
}

}  // namespace

PreprocessResult preprocess(const PreprocessOptions& options) {
  PreprocessResult result;
  add_splits(options, options.trainpref, "train", result.splits);
  const size_t train_files = result.splits.size();
  add_splits(options, options.validpref, "valid", result.splits);
  add_splits(options, options.testpref, "test", result.splits);
  check(options, result.splits, train_files > 0);

  std::optional<ByteBpe> bpe;
  if (!options.gpt2_encoder_json.empty()) {
    bpe = ByteBpe::load(options.gpt2_encoder_json, options.gpt2_vocab_bpe);
  }
  const LineEncoding encoding{bpe ? &*bpe : nullptr, options.keep_whitespace};
  const auto progress = [&](const std::string& step) -> BinarizeProgress {
    if (!options.progress) return {};
    return [&options, step](int64_t done, int64_t all) { options.progress(step, done, all); };
  };

  const auto languages = languages_of(options);
  const auto make_dictionary = [&](size_t side) {
    if (const auto given = given_dictionary(options, side); !given.empty())
      return Dictionary::load(given);
    std::vector<std::filesystem::path> files;
    for (size_t i = 0; i < train_files; ++i) {
      if (options.joined_dictionary || result.splits[i].lang == languages[side])
        files.push_back(result.splits[i].source);
    }
    auto made = build_dictionary(files, options.workers, encoding,
                                 progress(dictionary_name(languages[side])));
    const bool source = side == 0;
    made.finalize(source ? options.thresholdsrc : options.thresholdtgt,
                  source ? options.nwordssrc : options.nwordstgt, options.padding_factor);
    return made;
  };
  std::ofstream report(options.destdir / "preprocess.log", std::ios::app);
  const auto tell = [&](const std::string& line) {
    report << line << '\n';
    result.report.push_back(line);
  };
  std::map<std::string, Dictionary> dictionaries;
  for (size_t side = 0; side < languages.size(); ++side) {
    const auto& lang = languages[side];
    auto& dictionary = dictionaries[lang];
    dictionary = side > 0 && options.joined_dictionary ? dictionaries.at(languages.front())
                                                       : make_dictionary(side);
    dictionary.save(options.destdir / dictionary_name(lang));
    tell(fmt::format("[{}] Dictionary: {} types", lang.empty() ? "None" : lang, dictionary.size()));
  }
  result.dictionary_size = dictionaries.at(languages.front()).size();

  for (auto& split : result.splits) {
    const auto& dictionary = dictionaries.at(split.lang);
    split.statistics = binarize({.source = split.source,
                                 .output_prefix = options.destdir / split.name,
                                 .dictionary = &dictionary,
                                 .workers = options.workers,
                                 .encoding = encoding,
                                 .progress = progress(split.name)});
    const auto& statistics = split.statistics;
    tell(fmt::format(
        "[{}] {}: {} sents, {} tokens, {:.3}% replaced by {}",
        split.lang.empty() ? "None" : split.lang, split.source.string(), statistics.sentences, statistics.tokens,
        100.0 * static_cast<double>(statistics.replaced) / static_cast<double>(statistics.tokens),
        dictionary.symbol(Dictionary::kUnk)));
  }
  if (bpe) {
    // The BPE goes with the data, so that what is trained on it can be given raw text. Last, so
    // that a folder with vocab.bpe is a complete one.
    copy_file_to(options.gpt2_encoder_json, options.destdir / "encoder.json");
    copy_file_to(options.gpt2_vocab_bpe, options.destdir / "vocab.bpe");
  }
  return result;
}

}  // namespace evomoe
