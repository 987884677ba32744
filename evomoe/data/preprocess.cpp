#include <unistd.h>

#include <fstream>

#include "evomoe/base/error.h"
#include "evomoe/base/write_file.h"
#include "evomoe/data/binarize.h"
#include "evomoe/data/text_lines.h"

namespace evomoe {
namespace {

using Splits = std::vector<PreprocessResult::Split>;

/// Appends a split for each file of a comma-separated list: train, train1, ...
void add_splits(const std::string& files, const std::string& name, Splits& splits) {
  int64_t number = 0;
  for (size_t begin = 0; begin < files.size(); ++number) {
    const size_t end = std::min(files.find(',', begin), files.size());
    if (end == begin) fail_usage("--{}pref `{}` has an empty file name", name, files);
    splits.push_back(
        {number == 0 ? name : name + std::to_string(number), files.substr(begin, end - begin), {}});
    begin = end + 1;
  }
}

/// Everything that can be known to be wrong before the work begins.
void check(const PreprocessOptions& options, const Splits& splits, bool has_train) {
  if (splits.empty()) {
    fail_usage("nothing to do: give at least one of --trainpref, --validpref and --testpref");
  }
  if (options.srcdict.empty() && !has_train) {
    fail_usage(
        "without --trainpref there is nothing to make a dictionary from; give --trainpref or "
        "--srcdict");
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
  const auto dictionary = options.destdir / "dict.txt";
  EVOMOE_CHECK(
      !options.srcdict.empty() || !std::filesystem::exists(dictionary),
      "{} is already there; use it with --srcdict {}, or remove it, or choose another --destdir",
      dictionary.string(), dictionary.string());
}

}  // namespace

PreprocessResult preprocess(const PreprocessOptions& options) {
  PreprocessResult result;
  add_splits(options.trainpref, "train", result.splits);
  const size_t train_files = result.splits.size();
  add_splits(options.validpref, "valid", result.splits);
  add_splits(options.testpref, "test", result.splits);
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

  Dictionary dictionary;
  if (!options.srcdict.empty()) {
    dictionary = Dictionary::load(options.srcdict);
  } else {
    std::vector<std::filesystem::path> files;
    for (size_t i = 0; i < train_files; ++i) files.push_back(result.splits[i].source);
    dictionary = build_dictionary(files, options.workers, encoding, progress("dictionary"));
    dictionary.finalize(options.thresholdsrc, options.nwordssrc, options.padding_factor);
  }
  dictionary.save(options.destdir / "dict.txt");
  result.dictionary_size = dictionary.size();

  std::ofstream report(options.destdir / "preprocess.log", std::ios::app);
  const auto tell = [&](const std::string& line) {
    report << line << '\n';
    result.report.push_back(line);
  };
  tell(fmt::format("[None] Dictionary: {} types", dictionary.size()));
  for (auto& split : result.splits) {
    split.statistics = binarize({.source = split.source,
                                 .output_prefix = options.destdir / split.name,
                                 .dictionary = &dictionary,
                                 .workers = options.workers,
                                 .encoding = encoding,
                                 .progress = progress(split.name)});
    const auto& statistics = split.statistics;
    tell(fmt::format(
        "[None] {}: {} sents, {} tokens, {:.3}% replaced by {}", split.source.string(),
        statistics.sentences, statistics.tokens,
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
