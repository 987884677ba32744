#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "evomoe/base/error.h"
#include "evomoe/base/write_file.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/text/bpe_folder.h"
#include "evomoe/text/bpe_options.h"
#include "evomoe/text/byte_bpe.h"

namespace evomoe {
namespace {

/// The files named, and all regular files in the folders named, sorted.
std::vector<std::filesystem::path> expand(const std::vector<std::string>& inputs) {
  std::vector<std::filesystem::path> files;
  for (const auto& input : inputs) {
    EVOMOE_CHECK(std::filesystem::exists(input), "{}: there is no such file or folder", input);
    if (!std::filesystem::is_directory(input)) {
      files.emplace_back(input);
      continue;
    }
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(input)) {
      if (entry.is_regular_file()) found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

int train(const BpeFlags& flags) {
  if (flags.input.empty())
    fail_usage("evomoe bpe train: name the files or folders of text to learn from");
  std::filesystem::create_directories(flags.destdir);
  const bool live = isatty(STDERR_FILENO) != 0;
  const auto progress = [live](int64_t done, int64_t all) {
    if (live) fmt::print(stderr, "\r{} of {} tokens \033[K", done, all);
  };
  const auto bpe = ByteBpe::train(expand(flags.input), flags.vocab_size,
                                  static_cast<int>(flags.workers), flags.keep_whitespace, progress);
  if (live) fmt::print(stderr, "\r\033[K");
  const std::filesystem::path folder = flags.destdir;
  bpe.save(folder / "encoder.json", folder / "vocab.bpe");
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
  BpeFlags flags;
  if (!parse_command("bpe", arguments, flags)) return 0;
  validate_options(flags);
  return flags.action == "train" ? train(flags) : convert(flags);
}

}  // namespace evomoe
