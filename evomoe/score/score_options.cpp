#include "evomoe/score/score_options.h"

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"

namespace evomoe {

void ScoreOptions::describe(OptionTable& table) {
  table.add("sys", &sys, "Translations, one a line; -: stdin.").alias("s").metavar("FILE");
  table.add("ref", &ref, "Their references; -: stdin.").alias("r").metavar("FILE").required();
  table.add("order", &order, "Longest n-gram that is counted.").alias("o").range(1, 4);
  table.add("ignore-case", &ignore_case, "Ignores upper and lower case.");
  table.add("sacrebleu", &sacrebleu,
            "BLEU as sacreBLEU counts it, of text; not given: as fairseq, of words between white "
            "space.");
  table.add("sacrebleu-tokenizer", &sacrebleu_tokenizer, "How text is split for --sacrebleu.")
      .choices({"13a", "none", "intl", "char"});
  table.add("sentence-bleu", &sentence_bleu, "BLEU of each line, smoothed by adding one match.");
  table.example("evomoe score --sys out.de --ref test.de --sacrebleu", "the number for a paper");
}

void validate_options(const ScoreOptions& options) {
  if (options.sacrebleu && options.sentence_bleu)
    fail_usage(
        "--sacrebleu and --sentence-bleu do not go together: sentences are scored as fairseq "
        "does");
  if (options.sacrebleu && options.order != 4)
    fail_usage("--order {}: sacreBLEU counts up to 4 words; leave it or --sacrebleu away",
               options.order);
  if (options.sys == "-" && options.ref == "-")
    fail_usage("--sys - and --ref -: only one of the two files can be stdin");
}

}  // namespace evomoe
