#include <unistd.h>

#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/config/validate_options.h"
#include "evomoe/data/binarize.h"

namespace evomoe {

int preprocess_command(const std::vector<std::string>& arguments) {
  PreprocessFlags flags;
  const auto bind = [](OptionTable& table, PreprocessFlags& o) { describe(table, o); };
  if (!parse_command("preprocess", arguments, flags, bind)) return 0;
  validate_options(flags);
  PreprocessOptions options;
  options.source_lang = flags.source_lang.value_or("");
  options.target_lang = flags.target_lang.value_or("");
  options.only_source = flags.only_source;
  options.examples = flags.examples.value_or("");
  options.trainpref = flags.trainpref.value_or("");
  options.validpref = flags.validpref.value_or("");
  options.testpref = flags.testpref.value_or("");
  options.destdir = flags.destdir;
  options.srcdict = flags.srcdict.value_or("");
  options.tgtdict = flags.tgtdict.value_or("");
  options.joined_dictionary = flags.joined_dictionary;
  options.thresholdsrc = flags.thresholdsrc;
  options.thresholdtgt = flags.thresholdtgt;
  options.nwordssrc = flags.nwordssrc;
  options.nwordstgt = flags.nwordstgt;
  options.padding_factor = flags.padding_factor;
  options.dict_only = flags.dict_only;
  options.workers = static_cast<int>(flags.workers);
  options.gpt2_encoder_json = flags.bpe.gpt2_encoder_json.value_or("");
  options.gpt2_vocab_bpe = flags.bpe.gpt2_vocab_bpe.value_or("");
  options.keep_whitespace = flags.keep_whitespace;
  const bool live = isatty(STDERR_FILENO) != 0;
  if (live) {
    options.progress = [](const std::string& step, int64_t done, int64_t all) {
      fmt::print(stderr, "\r{}: {} of {} MB \033[K", step, done >> 20, all >> 20);
    };
  }
  const auto result = options.examples.empty() ? preprocess(options) : preprocess_examples(options);
  if (live) fmt::print(stderr, "\r\033[K");
  for (const auto& line : result.report) fmt::print("{}\n", line);
  return 0;
}

}  // namespace evomoe
