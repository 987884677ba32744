#include "evomoe/train/eval_bleu.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/config/option_table.h"

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

void EvalBleuOptions::describe(OptionTable& table) {
  table.add("eval-bleu", &eval_bleu,
            "Each validation translates, and logs the BLEU as sacreBLEU counts it; "
            "--best-checkpoint-metric bleu --maximize-best-checkpoint-metric keeps the best. In "
            "`validate` the default is that of the training.");
  table
      .add("eval-bleu-args", &eval_bleu_args,
           "How --eval-bleu searches, as JSON with the names of generate's options: beam, "
           "max_len_a, max_len_b, lenpen, ...")
      .metavar("JSON");
  table
      .add("eval-bleu-detok", &eval_bleu_detok,
           "How --eval-bleu joins words to text: space and nltk leave them, moses undoes Moses' "
           "tokenizer.")
      .choices({"space", "moses", "nltk"});
  table
      .add("eval-bleu-detok-args", &eval_bleu_detok_args,
           R"(For moses, as JSON: {"target_lang": "fr"} for the rules of French; not given: those )"
           "of English, as in fairseq, whatever the target.")
      .metavar("JSON");
  table.add("eval-tokenized-bleu", &eval_tokenized_bleu,
            "--eval-bleu counts words between white space, not those of sacreBLEU's 13a.");
  add_post_process(table, "eval-bleu-remove-bpe", eval_bleu_remove_bpe,
                   "How --eval-bleu joins subwords to words");
  table.add("eval-bleu-print-samples", &eval_bleu_print_samples,
            "--eval-bleu logs a hypothesis and its reference of each batch.");
}

BleuSearch bleu_search(const EvalBleuOptions& options) {
  BleuSearch search;
  OptionTable table("generate", "");
  search.describe(table);
  read_json("--eval-bleu-args", options.eval_bleu_args, table);
  if (!search.sampling) search.sampling = false;
  try {
    search.validate(/*samples=*/false);
    validate_lengths(search.search, search.min_len.value_or(0), search.max_len, "--max-len");
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
