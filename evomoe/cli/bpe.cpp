#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>

#include "evomoe/base/error.h"
#include "evomoe/base/write_file.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/corpus/bpe_command_options.h"
#include "evomoe/corpus/input_files.h"
#include "evomoe/corpus/train_bpe.h"
#include "evomoe/text/bpe_folder.h"
#include "evomoe/text/bpe_options.h"
#include "evomoe/text/byte_bpe.h"

namespace evomoe {
namespace {

int train(const BpeCommandOptions& flags) {
  if (flags.input.empty())
    fail_usage("evomoe bpe train: name the files or folders of text to learn from");
  std::vector<std::filesystem::path> files;
  for (const auto& input : flags.input) {
    const auto named = input_files(input);
    files.insert(files.end(), named.begin(), named.end());
  }
  BadRows bad_rows(flags.skips_bad_rows());
  const Corpus corpus(files, {.text_column = flags.text_column}, /*document_lines=*/false,
                      &bad_rows);
  corpus.check();
  std::filesystem::create_directories(flags.destdir);
  const bool live = isatty(STDERR_FILENO) != 0;
  const auto progress = [live](int64_t done, int64_t all) {
    if (live) fmt::print(stderr, "\r{} of {} tokens \033[K", done, all);
  };
  const auto bpe = train_bpe(corpus, flags.vocab_size, static_cast<int>(flags.workers),
                             flags.keep_whitespace, progress);
  if (live) fmt::print(stderr, "\r\033[K");
  const std::filesystem::path folder = flags.destdir;
  bpe.save(folder / "encoder.json", folder / "vocab.bpe");
  if (bad_rows.count() > 0) fmt::print("{}\n", bad_rows.summary());
  fmt::print("{} tokens in {} and {}\n", bpe.size(), (folder / "encoder.json").string(),
             (folder / "vocab.bpe").string());
  return 0;
}

/// Encodes or decodes the one input, by default stdin, to --output, by default stdout.
int convert(const BpeFlags& flags) {
  if (flags.input.size() > 1)
    fail_usage("evomoe bpe {}: name one input file, not {}", flags.action, flags.input.size());
  if (flags.keep_whitespace) {
    fail_usage("--keep-whitespace is for evomoe bpe train; {} keeps every byte anyway",
               flags.action);
  }
  const auto given = given_bpe(flags.files());
  const auto& bpe = *given;
  const auto name = flags.input.empty() ? std::string("-") : flags.input[0];
  std::ifstream file;
  if (name != "-") {
    EVOMOE_CHECK(!std::filesystem::is_directory(name), "{}: it is a folder; name one file", name);
    file.open(name, std::ios::binary);
    EVOMOE_CHECK(file.is_open(), "{}: the file cannot be read; check the path", name);
  }
  std::istream& in = name == "-" ? std::cin : file;
  BpeFileStatistics statistics;
  const auto run = [&](std::ostream& out) {
    statistics = flags.action == "encode"
                     ? bpe_encode(bpe, in, out, static_cast<int>(flags.workers))
                     : bpe_decode(bpe, in, out, name == "-" ? "stdin" : name);
  };
  if (flags.output == "-") {
    run(std::cout);
    EVOMOE_CHECK(std::cout.flush().good(), "stdout: the result cannot be written");
  } else {
    write_file(flags.output, run);
  }
  log().info("{} lines, {} tokens", statistics.lines, statistics.tokens);
  if (statistics.returns > 0) {
    log().warn(
        "{} lines end with \\r\\n, and their \\r was encoded like every byte; "
        "`preprocess --bpe` takes it for a part of the line's end, as would this command "
        "behind `tr -d '\\r'`",
        statistics.returns);
  }
  return 0;
}

}  // namespace

int bpe_command(const std::vector<std::string>& arguments) {
  BpeCommandOptions flags;
  if (!parse_command("bpe", arguments, flags)) return 0;
  validate_options(flags);
  return flags.action == "train" ? train(flags) : convert(flags);
}

}  // namespace evomoe
