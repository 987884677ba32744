#include <unistd.h>

#include <iostream>

#include "evomoe/base/error.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/config/validate_options.h"
#include "evomoe/generate/evaluation_options.h"
#include "evomoe/generate/translate_lines.h"

namespace evomoe {

int interactive_command(const std::vector<std::string>& arguments) {
  InteractiveOptions flags;
  const auto bind = [](OptionTable& table, InteractiveOptions& o) { describe(table, o); };
  if (!parse_command("interactive", arguments, flags, bind)) return 0;
  validate_options(flags);
  LineReader lines("input", flags.input);
  const auto models = load_models(
      flags.path, {.data = flags.data.value_or(""),
                   .bpe = flags.bpe,
                   .eval_capacity_fraction = flags.search.moe_eval_capacity_token_fraction,
                   .common = flags.common});
  const auto model = generation_model(models, flags.search, "evomoe interactive");
  log().info("NOTE: hypothesis and token scores are output in base 2");
  if (flags.input == "-" && isatty(STDIN_FILENO) != 0)
    log().info("Type the input sentence and press return; end with Ctrl-D:");
  translate_lines(model, flags, lines, std::cout);
  return 0;
}

}  // namespace evomoe
