#include "evomoe/config/eval_bleu.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/base/parse_json.h"
#include "evomoe/config/describe_groups.h"
#include "evomoe/config/validate_options.h"

namespace evomoe {
namespace {

/// Fills the options of `table` from the JSON that `flag` has.
void read_json(const std::string& flag, const std::string& text, const OptionTable& table) {
  const auto given = parse_json(text);
  if (!given.is_object()) {
    fail_usage("{} '{}': this is no JSON object; write it as '{{\"{}\": value}}'", flag, text,
               table.options().front()->key());
  }
  for (const auto& [key, value] : given.items()) {
    const auto& options = table.options();
    const auto found =
        std::find_if(options.begin(), options.end(),
                     [&, key = key](const auto& option) { return option->key() == key; });
    if (found == options.end()) {
      std::vector<std::string> keys;
      for (const auto& option : options) keys.push_back(option->key());
      fail_usage("{}: there is no '{}'; it may hold {}", flag, key, fmt::join(keys, ", "));
    }
    (*found)->check(value, fmt::format("{}: {}", flag, key));
    (*found)->store(value, /*by_user=*/true);
  }
}

}  // namespace

GenerateOptions bleu_search(const EvalBleuOptions& options) {
  GenerateOptions search;
  OptionTable table("generate", "");
  describe_bleu_search(table, search);
  read_json("--eval-bleu-args", options.eval_bleu_args, table);
  if (!search.sampling) search.sampling = false;
  try {
    validate_options(search);
  } catch (const UsageError& error) {
    fail_usage("--eval-bleu-args: {}", error.what());
  }
  return search;
}

std::string bleu_detokenizer_language(const EvalBleuOptions& options) {
  // What else fairseq's detokenizers may be told is about splitting, which is not done here.
  std::string source = "en", target = "en";
  bool no_dash_splits = false, no_escape = false;
  OptionTable table("detokenizer", "");
  table.add("target-lang", &target, "");
  table.add("source-lang", &source, "");
  table.add("moses-no-dash-splits", &no_dash_splits, "");
  table.add("moses-no-escape", &no_escape, "");
  read_json("--eval-bleu-detok-args", options.eval_bleu_detok_args, table);
  return target;
}

void validate_bleu(const EvalBleuOptions& bleu, const std::string& validate_routing) {
  bleu_search(bleu);
  bleu_detokenizer_language(bleu);
  if (bleu.eval_bleu && validate_routing == "stage") {
    fail_usage(
        "--eval-bleu translates with the routing of evaluation, which --validate-routing stage "
        "leaves out; use --validate-routing reference or both");
  }
}

}  // namespace evomoe
