// `evomoe preprocess --examples`: prompts with answers become a data-bin folder.
#include <fstream>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/base/write_file.h"
#include "evomoe/data/binarize.h"
#include "evomoe/data/example_files.h"
#include "evomoe/data/indexed_dataset.h"
#include "evomoe/data/preprocess_checks.h"
#include "evomoe/text/encoder_pool.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/text_tokens.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kExamplesOfPiece = 512;

/// A file of examples.
struct Split {
  std::string name;    ///< train, train1, valid, ...
  std::string source;  ///< as it was given
  std::vector<Example> examples;
};

void read_splits(const std::string& files, const std::string& name, const std::string& form,
                 std::vector<Split>& splits) {
  int64_t number = 0;
  for (const auto& source : file_list(files, name)) {
    splits.push_back({number == 0 ? name : name + std::to_string(number), source,
                      form == "pairs" ? read_pair_examples(source) : read_json_examples(source)});
    ++number;
  }
}

/// Symbols of texts: words, or the numbers of a BPE's tokens. Safe to use from several threads.
class Symbols {
 public:
  explicit Symbols(const LineEncoding& encoding) : encoding_(encoding) {
    if (encoding.bpe != nullptr) encoders_.emplace(*encoding.bpe);
  }

  void for_each(std::string_view text, const std::function<void(std::string_view)>& symbol) {
    if (!encoders_) {
      for_each_word(text, symbol);
      return;
    }
    auto encoder = encoders_->take();
    std::vector<int32_t> ids;
    encoder->encode(encoding_.bpe_text(text), ids);
    encoders_->give(std::move(encoder));
    for (const auto id : ids) symbol(std::to_string(id));
  }

 private:
  LineEncoding encoding_;
  std::optional<EncoderPool> encoders_;
};

Dictionary make_dictionary(const std::vector<Split>& splits, Symbols& symbols) {
  StringMap<int64_t> counts;
  int64_t ends = 0;
  const auto count = [&](std::string_view text) {
    symbols.for_each(text, [&](std::string_view symbol) { count_symbol(counts, symbol); });
    ++ends;
  };
  for (const auto& split : splits) {
    if (!split.name.starts_with("train")) continue;
    for (const auto& example : split.examples) {
      count(example.prompt);
      count(example.answer);
    }
  }
  return Dictionary::of_counts(counts, ends);
}

/// Writes one side of a split, a text an item.
BinarizeStatistics write_side(const Split& split, std::string Example::*side, Symbols& symbols,
                              const Dictionary& dictionary, const fs::path& prefix, int workers) {
  struct Piece {
    std::vector<std::vector<int64_t>> items;
    int64_t replaced = 0;
  };
  IndexedBuilder builder(prefix, dictionary.size());
  BinarizeStatistics statistics;
  const auto count = static_cast<int64_t>(split.examples.size());
  const auto pieces = (count + kExamplesOfPiece - 1) / kExamplesOfPiece;
  std::vector<Piece> done(pieces);
  const auto encode = [&](int64_t piece) {
    const auto end = std::min(count, (piece + 1) * kExamplesOfPiece);
    for (int64_t i = piece * kExamplesOfPiece; i < end; ++i) {
      std::vector<int64_t> tokens;
      symbols.for_each(split.examples[i].*side, [&](std::string_view symbol) {
        tokens.push_back(text_token(symbol, dictionary));
        if (tokens.back() == Dictionary::kUnk && symbol != dictionary.symbol(Dictionary::kUnk))
          ++done[piece].replaced;
      });
      tokens.push_back(Dictionary::kEos);
      done[piece].items.push_back(std::move(tokens));
    }
  };
  const auto add = [&](int64_t piece) {
    for (const auto& item : done[piece].items) {
      builder.add(item);
      ++statistics.sentences;
      statistics.tokens += static_cast<int64_t>(item.size());
    }
    statistics.replaced += done[piece].replaced;
    done[piece] = {};
  };
  parallel_in_order(pieces, workers, encode, add);
  builder.finish();
  return statistics;
}

}  // namespace

PreprocessResult preprocess_examples(const PreprocessOptions& options) {
  check_encoding(options);
  std::vector<Split> splits;
  read_splits(options.trainpref, "train", options.examples, splits);
  read_splits(options.validpref, "valid", options.examples, splits);
  read_splits(options.testpref, "test", options.examples, splits);
  if (splits.empty())
    fail_usage("nothing to do: give at least one of --trainpref, --validpref and --testpref");
  if (options.srcdict.empty() && options.trainpref.empty()) {
    fail_usage(
        "without --trainpref there is nothing to make a dictionary from; give --trainpref or "
        "--srcdict");
  }
  make_destination(options.destdir);
  const auto dictionary_path = options.destdir / "dict.txt";
  check_no_dictionary(dictionary_path, options.srcdict, "--srcdict");

  std::optional<ByteBpe> bpe;
  if (!options.gpt2_encoder_json.empty())
    bpe = ByteBpe::load(options.gpt2_encoder_json, options.gpt2_vocab_bpe);
  Symbols symbols({bpe ? &*bpe : nullptr, options.keep_whitespace});
  Dictionary dictionary;
  if (options.srcdict.empty()) {
    dictionary = make_dictionary(splits, symbols);
    dictionary.finalize(options.thresholdsrc, options.nwordssrc, options.padding_factor);
    EVOMOE_CHECK(dictionary.size() > Dictionary::kSpecials,
                 "{}: no word is left for the dictionary: lower --thresholdsrc {}, or raise "
                 "--nwordssrc {} (the four special symbols count)",
                 splits.front().source, options.thresholdsrc, options.nwordssrc);
  } else {
    dictionary = Dictionary::load(options.srcdict);
  }
  dictionary.save(dictionary_path);

  PreprocessResult result;
  result.dictionary_size = dictionary.size();
  std::ofstream report(options.destdir / "preprocess.log", std::ios::app);
  const auto tell = [&](const std::string& line) {
    report << line << '\n';
    result.report.push_back(line);
  };
  tell(fmt::format("Dictionary: {} types", dictionary.size()));
  for (const auto& split : splits) {
    if (options.dict_only) break;
    const auto side = [&](std::string Example::*text, const std::string& name) {
      const auto output = split.name + "." + name;
      const auto statistics =
          write_side(split, text, symbols, dictionary, options.destdir / output, options.workers);
      result.splits.push_back({output, "", split.source, statistics});
      return statistics;
    };
    const auto prompts = side(&Example::prompt, "prompt");
    const auto answers = side(&Example::answer, "answer");
    const auto replaced = prompts.replaced + answers.replaced;
    const auto tokens = prompts.tokens + answers.tokens;
    if (replaced > 0 && replaced * 100 >= tokens) {
      log().warn(
          "{}: {:.1f} % of its tokens are not in the dictionary and become {}. Is it the model's "
          "dictionary, and are its BPE files given (--bpe gpt2, --gpt2-encoder-json, "
          "--gpt2-vocab-bpe)? A dictionary made of lines of text has no symbol for a line break "
          "within a text, as chat messages have them",
          split.source, 100.0 * static_cast<double>(replaced) / static_cast<double>(tokens),
          dictionary.symbol(Dictionary::kUnk));
    }
    tell(fmt::format("{}: {} examples, {} tokens of prompts, {} of answers, {} replaced by {}",
                     split.source, prompts.sentences, prompts.tokens, answers.tokens, replaced,
                     dictionary.symbol(Dictionary::kUnk)));
  }
  // Last, as for other data: a folder with vocab.bpe is a complete one.
  if (bpe) {
    copy_file_to(options.gpt2_encoder_json, options.destdir / "encoder.json");
    copy_file_to(options.gpt2_vocab_bpe, options.destdir / "vocab.bpe");
  }
  return result;
}

}  // namespace evomoe
