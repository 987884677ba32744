#include <chrono>
#include <cmath>
#include <map>
#include <numeric>

#include "evomoe/base/error.h"
#include "evomoe/base/json_file.h"
#include "evomoe/base/json_text.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/command_ranks.h"
#include "evomoe/cli/parse.h"
#include "evomoe/data/batching.h"
#include "evomoe/data/language_model_data.h"
#include "evomoe/generate/evaluation_options.h"
#include "evomoe/generate/language_model_scorer.h"
#include "evomoe/report/meters.h"
#include "evomoe/run/ranks.h"
#include "evomoe/text/word_joiner.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/task.h"
#include "evomoe/train/tasks/language_modeling.h"

namespace evomoe {
namespace {

/// The text that tokens stand for. A line ends with </s>, which is its "\n".
class TokenText {
 public:
  explicit TokenText(const LoadedModel& loaded) : loaded_(loaded) {}

  std::string bytes(int64_t token, bool at_line_start) const {
    if (token == Dictionary::kBos) return "";
    const auto& symbol = loaded_.dictionary.symbol(token);
    if (loaded_.bpe == nullptr) return at_line_start ? symbol : " " + symbol;
    // What stands for no BPE token is not text.
    const auto id = bpe_token_of(symbol);
    return id ? loaded_.bpe->bytes(*id) : "";
  }

 private:
  const LoadedModel& loaded_;
};

struct Totals {
  double log_probability = 0;  // nats
  int64_t tokens = 0, words = 0, bytes = 0;
};

struct WordStats {
  int64_t count = 0;
  double log_probability = 0;
};

}  // namespace

int eval_lm_command(const std::vector<std::string>& arguments) {
  EvalLmOptions flags;
  OptionTable table("eval-lm", command_summary("eval-lm"));
  flags.describe(table);
  if (!parse_quietly(table, arguments)) return 0;
  validate_options(flags);
  const auto [place, exit_code] = rank_of_command("eval-lm", arguments, flags.distributed,
                                                  flags.common, [&] { validate_options(flags); });
  if (exit_code) return *exit_code;
  tell_notices(table);
  const auto clock = steady_clock_seconds();
  const double begin = clock();
  const auto models =
      load_models(flags.path, {.data = flags.data,
                               .bpe = flags.bpe,
                               .eval_capacity_fraction = flags.moe_eval_capacity_token_fraction,
                               .dtype = flags.dtype,
                               .common = flags.common});
  const auto& loaded = models.front();
  loaded.language_model("evomoe eval-lm");
  const double after_load = clock();
  auto options = loaded.options;
  if (flags.tokens_per_sample) options.task.tokens_per_sample = *flags.tokens_per_sample;
  if (flags.sample_break_mode) options.task.sample_break_mode = *flags.sample_break_mode;
  const auto window = flags.context_window;
  if (window < 0 || window >= options.task.tokens_per_sample) {
    fail_usage("--context-window {}: it must be at least 0 and less than the {} tokens per sample",
               window, options.task.tokens_per_sample);
  }
  options.task.tokens_per_sample -= window;
  LanguageModelData data(flags.data, language_model_dataset_options(options));
  const auto dataset = data.open_blocks(flags.gen_subset, /*combine=*/false);
  ScorerOptions scorer;
  scorer.context_window = window;
  scorer.batch_size = flags.batch_size.value_or(0);
  scorer.max_tokens = flags.max_tokens.value_or(flags.batch_size ? 0 : 36000);
  scorer.max_batches = flags.max_valid_steps.value_or(-1);

  std::vector<int64_t> items(static_cast<size_t>(dataset->size()));
  std::iota(items.begin(), items.end(), 0);
  auto longest = longest_item(loaded.options);
  for (const auto& each : models) longest = std::min(longest, longest_item(each.options));
  // As fairseq's eval-lm, it leaves them out with a warning.
  items = filter_by_size(std::move(items), *dataset, {.max_positions = longest});

  RankFacts facts;
  for (const auto& each : models) facts.merge(model_facts(each));
  facts["the data"] = data_fact(*dataset);
  const auto communicator = join_command(place, table, flags.distributed, facts);

  const TokenText text(loaded);
  Totals totals;
  std::map<std::string, WordStats> stats;
  const auto take_line = [&](int64_t item, const std::vector<ScoredWord>& words) {
    std::string line = std::to_string(item);
    for (const auto& word : words) {
      if (flags.output_word_stats) {
        auto& of_word = stats[word.text];
        ++of_word.count;
        of_word.log_probability += word.log_probability;
      }
      if (flags.output_word_probs)
        line += fmt::format(" {} [{:.4f}]", word.text, word.log_probability / std::log(2.0));
    }
    if (flags.output_word_probs && !words.empty()) fmt::print("{}\n", line);
  };
  WordJoiner joiner;
  int64_t last_item = 0;
  ComputeThreads threads(flags.common.threads);
  score_dataset(models, *dataset, items, scorer, threads, *communicator,
                [&](const ScoredBlock& block) {
                  last_item = block.item;
                  for (size_t i = 0; i < block.token.size(); ++i) {
                    const auto token = block.token[i];
                    const double log_probability = block.log_probability[i];
                    EVOMOE_CHECK(std::isfinite(log_probability),
                                 "item {}: the log-probability of token {} is {}", block.item,
                                 token, log_probability);
                    totals.log_probability += log_probability;
                    ++totals.tokens;
                    if (token == Dictionary::kEos) {
                      const auto words = joiner.end_line(log_probability);
                      ++totals.bytes;
                      totals.words += static_cast<int64_t>(words.size()) - 1;
                      take_line(block.item, words);
                    } else {
                      const auto bytes = text.bytes(token, joiner.at_line_start());
                      totals.bytes += static_cast<int64_t>(bytes.size());
                      joiner.add(bytes, log_probability);
                    }
                  }
                });
  if (place.rank > 0) return 0;
  const auto rest = joiner.finish();
  totals.words += static_cast<int64_t>(rest.size());
  take_line(last_item, rest);
  EVOMOE_CHECK(totals.tokens > 0, "{}: it holds no tokens to score", dataset->name());
  if (flags.output_word_stats) {
    for (const auto& [word, of_word] : stats) {
      fmt::print("{}\t{}\t{:.4f}\n", word, of_word.count,
                 of_word.log_probability / static_cast<double>(of_word.count) / std::log(2.0));
    }
  }
  const double seconds = clock() - after_load;
  const double nats = -totals.log_probability;
  const double bits_per_token = nats / std::log(2.0) / static_cast<double>(totals.tokens);
  const auto per = [&](int64_t count) {
    return nats / static_cast<double>(std::max<int64_t>(count, 1));
  };
  log().info("Evaluated {} tokens in {:.1f}s ({:.2f} tokens/s)", totals.tokens, seconds,
             seconds > 0 ? static_cast<double>(totals.tokens) / seconds : 0.0);
  nlohmann::ordered_json result;
  result["loss"] = bits_per_token;
  result["perplexity"] = std::exp(per(totals.tokens));
  result["tokens"] = totals.tokens;
  result["words"] = totals.words;
  result["bytes"] = totals.bytes;
  result["bits_per_word"] = per(totals.words) / std::log(2.0);
  result["word_perplexity"] = std::exp(per(totals.words));
  result["bits_per_byte"] = per(totals.bytes) / std::log(2.0);
  result["ntok_total"] = totals.tokens;
  result["wall_time"] = clock() - begin;
  result["wall_time_load"] = after_load - begin;
  result["wall_time_model"] = seconds;
  if (flags.stats_path) write_json_file(*flags.stats_path + ".json", result);
  if (flags.common.log_format == "json") {
    fmt::print("{}\n", json_text(result));
  } else {
    fmt::print("{} Loss (base 2): {:.4f}, Perplexity: {:.2f}\n", flags.gen_subset, bits_per_token,
               std::exp(per(totals.tokens)));
    fmt::print("{} per word: {:.4f} bits, perplexity {:.2f}; per byte: {:.4f} bits\n",
               flags.gen_subset, per(totals.words) / std::log(2.0), std::exp(per(totals.words)),
               per(totals.bytes) / std::log(2.0));
  }
  return 0;
}

}  // namespace evomoe
