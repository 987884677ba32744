#include "evomoe/bench/generate.h"

#include <fmt/format.h>

#include "evomoe/base/error.h"
#include "evomoe/bench/hash_data.h"
#include "evomoe/bench/machine_peak.h"
#include "evomoe/bench/process_memory.h"
#include "evomoe/bench/results.h"
#include "evomoe/generate/text_generator.h"
#include "evomoe/train/settings.h"

namespace evomoe::bench {
namespace {

nlohmann::ordered_json measure_generation(const ModelCase& model,
                                          const GenerateBenchOptions& options,
                                          const MachinePeak& peak) {
  GenerationOptions generation;
  generation.max_new_tokens = options.new_tokens;
  generation.end_token = -1;
  const auto prompt = hash_tokens(100000, options.prompt_len, model.vocab);
  PeakMemory memory;
  Gpt gpt(gpt_options(train_options(model), model.vocab, kNoPadding, /*shared_expert=*/false));
  fill_model(*gpt, model);
  std::vector<int64_t> text;
  const auto action = [&] { text = generate(gpt, prompt, generation); };
  measure(
      action, options.run.warmup, [] {}, options.run.budget_s / 2);
  memory.restart();
  Result result;
  const auto faults = minor_faults();
  result.timing = measure(
      action, options.run.repeats, [] {}, options.run.budget_s);
  result.faults = minor_faults() - faults;
  result.peak_mib = memory.peak_mib();
  result.impl = "evomoe";
  result.case_label =
      fmt::format("{}-prompt{}-new{}", model.label(), options.prompt_len, options.new_tokens);
  result.tokens = static_cast<double>(options.new_tokens);
  const auto active = static_cast<double>(model.active_matrix_parameters());
  // The last token that is made is not read again.
  const auto read = static_cast<double>(options.prompt_len + options.new_tokens - 1);
  result.gflop = 2e-9 * active * read;
  // Which tokens follow the prompt: another program with this model must write the same.
  uint64_t digest = 0;
  for (const auto token : text) digest = hash_word(digest, static_cast<uint64_t>(token));
  result.checksum = {{"tokens", fmt::format("{:016x}", digest)}};
  auto line = result_line(result, peak);
  line["ms_per_token"] = rounded(result.timing.median() / result.tokens, 4);
  // Each token reads the matrices it uses once.
  line["memory_fraction"] =
      rounded(4e-6 * active * result.tokens / result.timing.median() / peak.memory_gbs(), 4);
  line["first_tokens"] =
      std::vector<int64_t>(text.begin(), text.begin() + std::min<int64_t>(8, options.new_tokens));
  return line;
}

}  // namespace

void describe(OptionTable& table, GenerateBenchOptions& o) {
  describe(table, o.model);
  table.group("text", "The text");
  table.add("prompt-len", &o.prompt_len, "Tokens of the prompt.").at_least(1);
  table.add("new-tokens", &o.new_tokens, "Tokens that are made.").at_least(1);
  describe(table, o.run);
}

void run(const GenerateBenchOptions& options) {
  if (options.run.list) {
    fmt::print("{}", suite_list(model_suites()));
    return;
  }
  if (options.model.batch.value_or(1) != 1)
    fail_usage("--batch {}: one text is generated at a time; leave it out", *options.model.batch);
  auto model = model_case(options.run.suite, options.model);
  model.batch = 1;
  if (options.prompt_len + options.new_tokens > model.seq) {
    fail_usage(
        "--prompt-len {} and --new-tokens {} do not fit in --seq {}: the cache would be thrown "
        "away on the way",
        options.prompt_len, options.new_tokens, model.seq);
  }
  use_threads(options.run);
  Results results({{"case", "case"},
                   {"impl", "impl"},
                   {"tokens_per_s", "tokens/s", 1},
                   {"ms_per_token", "ms / token", 3},
                   {"ms_median", "median ms", 1},
                   {"ms_min", "min ms", 1},
                   {"memory_fraction", "of memory speed", 3},
                   {"peak_mem_mb", "MiB"}});
  MachinePeak peak(options.run.peak_seconds);
  peak.measure();
  results.add(measure_generation(model, options, peak));
  results.print_table();
}

}  // namespace evomoe::bench
