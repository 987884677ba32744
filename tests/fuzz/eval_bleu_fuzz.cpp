// The JSON of --eval-bleu-detok-args and --eval-bleu-args.
#include "evomoe/train/eval_bleu.h"
#include "tests/fuzz/target.h"

namespace evomoe::fuzz {
namespace {

std::vector<std::string> eval_bleu_seeds(const std::filesystem::path&) {
  return {join({R"({"target_lang": "de", "moses_no_escape": true})", "{}"}),
          join({"{}", R"({"beam": 4, "max_len_a": 1.2, "sampling": true, "sampling_topk": 3})"})};
}

void read_eval_bleu(const std::filesystem::path&, const std::string& bytes) {
  const auto parts = split(bytes, 2);
  EvalBleuOptions bleu;
  bleu.eval_bleu_detok_args = parts[0];
  bleu.eval_bleu_args = parts[1];
  bleu_detokenizer_language(bleu);
  bleu_search(bleu);
}

const Registration registration("eval_bleu", {eval_bleu_seeds, read_eval_bleu});

}  // namespace
}  // namespace evomoe::fuzz
