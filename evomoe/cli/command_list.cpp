#include "evomoe/cli/command_list.h"

#include "evomoe/base/error.h"

namespace evomoe {

const std::vector<Command>& all_commands() {
  static const std::vector<Command> all = {
      {"bpe", "trains a byte-level BPE on text, or encodes and decodes with one", bpe_command},
      {"preprocess", "makes a dictionary and a data-bin folder from text", preprocess_command},
      {"train",
       "trains a Transformer (language model, masked language model, translation), dense or with "
       "experts",
       train_command},
      {"validate", "computes the validation loss of a checkpoint", validate_command},
      {"eval-lm", "computes the perplexity of text under a checkpoint", eval_lm_command},
      {"generate", "translates a split of data, or continues prompts, with a checkpoint",
       generate_command},
      {"interactive", "translates lines of text with a checkpoint", interactive_command},
      {"score", "computes the BLEU of translations", score_command},
      {"convert",
       "makes a run folder of a checkpoint of fairseq or transformers, or the other way round",
       convert_command},
      {"info", "shows what a checkpoint holds", info_command},
      {"compare", "compares run folders: a table, and conclusions in sentences", compare_command},
      {"plan", "computes what ways of dividing a run among ranks would take, best first",
       plan_command},
      {"report", "makes a page of run folders: curves, routers, loads of experts, what differs",
       report_command},
      {"plot", "draws the curves of run folders into an SVG file", plot_command},
      {"bench", "measures speed and memory, beside this machine's own peak", bench_command},
      {"options", "prints all options: reference page, manual pages, shell completions",
       options_command},
  };
  return all;
}

std::string command_summary(const std::string& name) {
  for (const auto& command : all_commands()) {
    if (command.name == name) return command.summary;
  }
  fail("there is no command '{}'", name);
}

}  // namespace evomoe
