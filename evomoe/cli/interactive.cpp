#include <unistd.h>

#include <iostream>

#include "evomoe/base/error.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/generate/generate_options.h"
#include "evomoe/generate/translate_lines.h"
#include "evomoe/parallel/rank_place.h"

namespace evomoe {

int interactive_command(const std::vector<std::string>& arguments) {
  InteractiveOptions flags;
  if (!parse_command("interactive", arguments, flags)) return 0;
  validate_options(flags);
  const auto plan = plan_ranks(flags.distributed, process_environment);
  if (plan.first.size > 1) {
    fail_usage(
        "evomoe interactive is one process, as it answers each line before it reads the next: "
        "{} processes have nothing to share. Leave --distributed-world-size (or the program that "
        "starts processes) away, or use `evomoe generate`, which divides a file among them",
        plan.first.size);
  }
  LineReader lines("input", flags.input);
  const auto models = load_models(
      flags.path, {.data = flags.data.value_or(""),
                   .bpe = flags.bpe,
                   .eval_capacity_fraction = flags.search.moe_eval_capacity_token_fraction,
                   .dtype = flags.dtype,
                   .common = flags.common});
  const auto model = generation_model(models, flags.search, "evomoe interactive");
  log().info("NOTE: hypothesis and token scores are output in base 2");
  if (flags.input == "-" && isatty(STDIN_FILENO) != 0)
    log().info("Type the input sentence and press return; end with Ctrl-D:");
  translate_lines(model, flags, lines, std::cout);
  return 0;
}

}  // namespace evomoe
