// `evomoe preprocess --examples`: prompts with answers become a data-bin folder.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <type_traits>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/base/ordered_pipeline.h"
#include "evomoe/base/write_file.h"
#include "evomoe/corpus/input_files.h"
#include "evomoe/data/binarize.h"
#include "evomoe/data/example_files.h"
#include "evomoe/data/indexed_dataset.h"
#include "evomoe/data/preprocess_checks.h"
#include "evomoe/text/bpe_folder.h"
#include "evomoe/text/encoder_pool.h"
#include "evomoe/text/symbol_counts.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/text_tokens.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

constexpr size_t kExamplesOfPiece = 512;

/// A file of examples.
struct Split {
  std::string name;    ///< train, train1, valid, ...
  std::string source;  ///< as it was given
  std::vector<Example> examples;
};

/// The examples of a file, a pattern or a folder.
std::vector<Example> read_examples(const std::string& source, const std::string& form,
                                   BadRows& bad_rows) {
  if (form == "pairs") return read_pair_examples(source);
  std::vector<Example> examples;
  for (const auto& file : input_files(source)) {
    const auto format = format_of(file);
    EVOMOE_CHECK(format == InputFormat::kJsonLines || format == InputFormat::kText,
                 "{}: --examples jsonl reads JSON lines, and the file's name says that it is "
                 "something else; write it as .jsonl",
                 file.string());
    auto more = read_json_examples(file, bad_rows);
    std::move(more.begin(), more.end(), std::back_inserter(examples));
  }
  EVOMOE_CHECK(!examples.empty(), "{}: it has no example; a split needs at least one", source);
  return examples;
}

void read_splits(const std::string& inputs, const std::string& name, const std::string& form,
                 BadRows& bad_rows, std::vector<Split>& splits) {
  int64_t number = 0;
  for (const auto& source : file_list(inputs, name)) {
    splits.push_back({number == 0 ? name : name + std::to_string(number), source,
                      read_examples(source, form, bad_rows)});
    ++number;
  }
}

/// Goes through the examples of a split in pieces that `workers` threads work on: `work` may run in
/// several at once, `collect` gets what it returned, in order.
template <typename Work, typename Collect>
void for_each_piece(const Split& split, int workers, const Work& work, const Collect& collect) {
  using Piece = std::span<const Example>;
  using Pipeline = OrderedPipeline<Piece, std::invoke_result_t<Work, Piece>>;
  Piece rest = split.examples;
  const auto next = [&](Piece& piece) {
    piece = rest.first(std::min(kExamplesOfPiece, rest.size()));
    rest = rest.subspan(piece.size());
    return !piece.empty();
  };
  Pipeline::run(workers, next, work, [&](const Piece&, const auto& made) { collect(made); });
}

/// What turns the texts of the examples into symbols. Safe to use from several threads.
class ExampleTexts {
 public:
  explicit ExampleTexts(const LineEncoding& encoding) : encoding_(encoding) {
    if (encoding.bpe != nullptr) encoders_.emplace(*encoding.bpe);
  }

  bool has_bpe() const { return encoders_.has_value(); }

  Dictionary make_dictionary(const std::vector<Split>& splits, int workers) {
    const int64_t ids = has_bpe() ? encoding_.bpe->size() : 0;
    SymbolCounts counts(ids);
    int64_t ends = 0;
    const auto count = [&](std::span<const Example> examples) {
      SymbolCounts piece(ids);
      for (const auto& example : examples) {
        for (const auto* text : {&example.prompt, &example.answer}) {
          if (has_bpe()) {
            piece.add_ids(ids_of(*text));
          } else {
            piece.add_words_of(*text);
          }
        }
      }
      return piece;
    };
    for (const auto& split : splits) {
      if (!split.name.starts_with("train")) continue;
      for_each_piece(split, workers, count, [&](const SymbolCounts& piece) { counts.add(piece); });
      ends += 2 * static_cast<int64_t>(split.examples.size());
    }
    return counts.dictionary(ends);
  }

  /// Writes one side of a split, a text an item.
  BinarizeStatistics write_side(const Split& split, std::string Example::*side,
                                const Dictionary& dictionary, const fs::path& prefix, int workers) {
    std::vector<int64_t> token_of_id;
    if (has_bpe()) token_of_id = tokens_of_bpe_ids(*encoding_.bpe, dictionary);
    struct Piece {
      std::vector<std::vector<int64_t>> items;
      int64_t replaced = 0;
    };
    const auto encode = [&](std::span<const Example> examples) {
      Piece piece;
      for (const auto& example : examples) {
        std::vector<int64_t> tokens;
        const auto add = [&](int64_t token, bool is_unk_itself) {
          tokens.push_back(token);
          if (token == Dictionary::kUnk && !is_unk_itself) ++piece.replaced;
        };
        if (has_bpe()) {
          for (const auto id : ids_of(example.*side)) add(token_of_id[id], false);
        } else {
          for_each_word(example.*side, [&](std::string_view word) {
            add(text_token(word, dictionary), word == dictionary.symbol(Dictionary::kUnk));
          });
        }
        tokens.push_back(Dictionary::kEos);
        piece.items.push_back(std::move(tokens));
      }
      return piece;
    };
    IndexedBuilder builder(prefix, dictionary.size());
    BinarizeStatistics statistics;
    for_each_piece(split, workers, encode, [&](const Piece& piece) {
      for (const auto& item : piece.items) {
        builder.add(item);
        ++statistics.sentences;
        statistics.tokens += static_cast<int64_t>(item.size());
      }
      statistics.replaced += piece.replaced;
    });
    builder.finish();
    return statistics;
  }

 private:
  std::vector<int32_t> ids_of(std::string_view text) {
    auto encoder = encoders_->take();
    std::vector<int32_t> ids;
    encoder->encode(encoding_.bpe_text(text), ids);
    encoders_->give(std::move(encoder));
    return ids;
  }

  LineEncoding encoding_;
  std::optional<EncoderPool> encoders_;
};

}  // namespace

PreprocessResult preprocess_examples(const PreprocessOptions& options) {
  check_encoding(options);
  BadRows bad_rows(options.skips_bad_rows());
  std::vector<Split> splits;
  read_splits(options.trainpref.value_or(""), "train", *options.examples, bad_rows, splits);
  read_splits(options.validpref.value_or(""), "valid", *options.examples, bad_rows, splits);
  read_splits(options.testpref.value_or(""), "test", *options.examples, bad_rows, splits);
  if (splits.empty())
    fail_usage("nothing to do: give at least one of --trainpref, --validpref and --testpref");
  if (!options.srcdict && !options.trainpref) {
    fail_usage(
        "without --trainpref there is nothing to make a dictionary from; give --trainpref or "
        "--srcdict");
  }
  const auto dictionary_path = fs::path(options.destdir) / "dict.txt";
  check_no_dictionary(dictionary_path, options.srcdict.value_or(""), "--srcdict");
  const auto bpe = given_bpe(options);
  Dictionary dictionary;
  if (options.srcdict) dictionary = Dictionary::load(*options.srcdict);
  make_destination(options.destdir);

  ExampleTexts texts({bpe.get(), options.keep_whitespace});
  if (!options.srcdict) {
    dictionary = texts.make_dictionary(splits, static_cast<int>(options.workers));
    dictionary.finalize(options.thresholdsrc, options.nwordssrc, options.padding_factor);
    EVOMOE_CHECK(dictionary.size() > Dictionary::kSpecials,
                 "{}: no word is left for the dictionary: lower --thresholdsrc {}, or raise "
                 "--nwordssrc {} (the four special symbols count)",
                 splits.front().source, options.thresholdsrc, options.nwordssrc);
  }
  dictionary.save(dictionary_path);

  PreprocessResult result;
  result.dictionary_size = dictionary.size();
  std::ofstream report(fs::path(options.destdir) / "preprocess.log", std::ios::app);
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
          texts.write_side(split, text, dictionary, fs::path(options.destdir) / output,
                           static_cast<int>(options.workers));
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
          "dictionary, and are its BPE files given (--bpe gpt2 or hf)? A "
          "dictionary made of lines of text has no symbol for a line break "
          "within a text, as chat messages have them",
          split.source, 100.0 * static_cast<double>(replaced) / static_cast<double>(tokens),
          dictionary.symbol(Dictionary::kUnk));
    }
    tell(fmt::format("{}: {} examples, {} tokens of prompts, {} of answers, {} replaced by {}",
                     split.source, prompts.sentences, prompts.tokens, answers.tokens, replaced,
                     dictionary.symbol(Dictionary::kUnk)));
  }
  result.bad_rows = bad_rows.count();
  if (result.bad_rows > 0) tell(bad_rows.summary());
  // Last, as for other data: a new folder with a BPE is a complete one.
  copy_bpe(options, options.destdir);
  return result;
}

}  // namespace evomoe
