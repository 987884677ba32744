#include "evomoe/data/preprocess_checks.h"

#include <unistd.h>

#include <algorithm>
#include <system_error>

#include "evomoe/base/error.h"

namespace evomoe {

std::vector<std::string> file_list(const std::string& files, const std::string& name) {
  std::vector<std::string> list;
  for (size_t begin = 0; begin < files.size();) {
    const size_t end = std::min(files.find(',', begin), files.size());
    if (end == begin) fail_usage("--{}pref `{}` has an empty file name", name, files);
    list.push_back(files.substr(begin, end - begin));
    begin = end + 1;
  }
  return list;
}

void check_encoding(const PreprocessOptions& options) {
  if (options.gpt2_encoder_json.has_value() != options.gpt2_vocab_bpe.has_value()) {
    fail_usage("a GPT-2 BPE needs both files; give --gpt2-encoder-json and --gpt2-vocab-bpe");
  }
  if (options.keep_whitespace && !options.given()) {
    fail_usage(
        "--keep-whitespace needs --bpe gpt2 or hf: without a BPE text is split at white space, "
        "which is no part of it");
  }
  if (options.workers < 1) fail_usage("--workers is {}; it must be at least 1", options.workers);
}

void make_destination(const std::filesystem::path& destdir) {
  std::error_code error;
  std::filesystem::create_directories(destdir, error);
  EVOMOE_CHECK(std::filesystem::is_directory(destdir) && ::access(destdir.c_str(), W_OK) == 0,
               "cannot write into --destdir {}{}; check its permissions or choose another folder",
               destdir.string(), error ? ": " + error.message() : "");
}

void check_no_dictionary(const std::filesystem::path& dictionary,
                         const std::filesystem::path& given, const char* option) {
  EVOMOE_CHECK(!given.empty() || !std::filesystem::exists(dictionary),
               "{} is already there; use it with {} {}, or remove it, or choose another --destdir",
               dictionary.string(), option, dictionary.string());
}

}  // namespace evomoe
