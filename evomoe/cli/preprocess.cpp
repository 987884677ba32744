#include <unistd.h>

#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/data/binarize.h"

namespace evomoe {

int preprocess_command(const std::vector<std::string>& arguments) {
  PreprocessOptions options;
  if (!parse_command("preprocess", arguments, options)) return 0;
  validate_options(options);
  const bool live = isatty(STDERR_FILENO) != 0;
  if (live) {
    options.progress = [](const std::string& step, int64_t done, int64_t all) {
      fmt::print(stderr, "\r{}: {} of {} MB \033[K", step, done >> 20, all >> 20);
    };
  }
  const auto result = options.examples ? preprocess_examples(options) : preprocess(options);
  if (live) fmt::print(stderr, "\r\033[K");
  for (const auto& line : result.report) fmt::print("{}\n", line);
  return 0;
}

}  // namespace evomoe
