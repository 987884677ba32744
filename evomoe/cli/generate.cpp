#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/command_ranks.h"
#include "evomoe/cli/parse.h"
#include "evomoe/generate/generate_options.h"
#include "evomoe/generate/generate_subset.h"
#include "evomoe/generate/text_generator.h"
#include "evomoe/loading/loaded_model.h"
#include "evomoe/parallel/gather_text.h"
#include "evomoe/run/ranks.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/token_text.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/task.h"

namespace evomoe {
namespace {

/// Joins the other ranks, which must have the same facts.
using Join = std::function<std::shared_ptr<Communicator>(const RankFacts& facts)>;

/// What stands behind the prompt. An end of sentence is an end of line.
std::string continuation(const GenerationModel& model, const std::vector<int64_t>& tokens) {
  std::string text;
  std::vector<int64_t> line;
  const auto end_line = [&] {
    text += decoded_text(model.bpe, symbol_text(*model.target, line, /*post_process=*/{}));
    line.clear();
  };
  for (const auto token : tokens) {
    line.push_back(token);
    if (token != Dictionary::kEos) continue;
    end_line();
    text += "\n";
  }
  end_line();
  return text;
}

struct Prompt {
  std::string text, name;
};

/// The prompts, in order: the lines of a file or of stdin, or the one of the command line. Rank 0
/// alone reads; all ranks get the same.
class Prompts {
 public:
  Prompts(const GenerateOptions& flags, const GenerationModel& model, Communicator& communicator)
      : model_(model), communicator_(communicator) {
    if (flags.prompt) {
      prompt_ = Prompt{*flags.prompt, "--prompt"};
      return;
    }
    if (communicator.rank() > 0) return;
    const bool terminal = flags.input == "-" && isatty(STDIN_FILENO) != 0;
    if (terminal && communicator.size() > 1) {
      fail_usage(
          "{} processes cannot read prompts from a terminal; give --prompt TEXT or --input FILE, "
          "or "
          "start one process",
          communicator.size());
    }
    if (terminal) log().info("reading prompts from the terminal, one a line; end with Ctrl-D");
    reader_.emplace("input", flags.input);
  }

  /// The next ones, as many as there are ranks; fewer, or none, at the end.
  std::vector<Prompt> next() {
    if (is_over_) return {};
    if (prompt_) {
      is_over_ = true;
      return {*prompt_};
    }
    auto lines = nlohmann::json::array();
    for (std::string line;
         reader_ && static_cast<int>(lines.size()) < communicator_.size() && reader_->next(line);) {
      if (model_.bpe == nullptr) require_utf8(line, reader_->where());
      lines.push_back({line, reader_->where()});
    }
    EVOMOE_CHECK(!reader_ || reader_->number() > 0,
                 "there is no prompt: give --prompt TEXT, or lines on stdin or in --input FILE");
    std::string bytes;  // text of any encoding
    nlohmann::json::to_cbor(lines, bytes);
    std::vector<Prompt> prompts;
    for (const auto& line :
         nlohmann::json::from_cbor(text_of_first_rank(std::move(bytes), communicator_)))
      prompts.push_back({line.at(0).get<std::string>(), line.at(1).get<std::string>()});
    return prompts;
  }

 private:
  const GenerationModel& model_;
  Communicator& communicator_;
  std::optional<Prompt> prompt_;
  bool is_over_ = false;  ///< the one prompt was given
  std::optional<LineReader> reader_;
};

GenerationOptions generation_options(const GenerateOptions& flags) {
  GenerationOptions options;
  options.max_new_tokens = flags.max_len;
  options.min_new_tokens = flags.min_len.value_or(0);
  options.sample = *flags.sampling;
  options.temperature = flags.temperature;
  options.top_k = std::max<int64_t>(*flags.sampling_topk, 0);
  options.top_p = std::max(flags.sampling_topp, 0.0);
  options.seed = static_cast<uint64_t>(flags.common.seed);
  options.end_token = *flags.ignore_eos ? -1 : Dictionary::kEos;
  options.never = {Dictionary::kPad, Dictionary::kBos, Dictionary::kUnk};
  options.validate();
  return options;
}

/// What is printed of a text that goes on behind a prompt.
std::string sample_line(const GenerateOptions& flags, const GenerationModel& model,
                        const std::string& line, int64_t sample, const std::vector<int64_t>& made) {
  const std::string prompt(flags.keep_whitespace ? line : strip(line));
  const auto text = continuation(model, made);
  const bool words = model.bpe == nullptr && !prompt.empty();
  if (flags.common.log_format != "json")
    return fmt::format("{}{}{}\n", prompt, words ? " " : "", text);
  nlohmann::ordered_json object;
  object["prompt"] = prompt;
  object["sample"] = sample;
  object["text"] = text;
  object["tokens"] = made.size();
  return json_text(object) + "\n";
}

/// The tokens of a prompt. A warning where the model does not read all of them.
std::vector<int64_t> prompt_tokens(const GenerationModel& model, const Prompt& prompt,
                                   bool keep_whitespace) {
  auto tokens = source_tokens(model, prompt.text, keep_whitespace);
  const auto length = static_cast<int64_t>(tokens.size());
  const auto read = prompt_window(length, model.max_source_positions);
  if (read < length) {
    log().warn(
        "{}: the prompt has {} tokens, more than the {} positions of the model; only its "
        "last {} are read",
        prompt.name, length, model.max_source_positions, read);
  }
  return tokens;
}

/// Goes on with each prompt, one token at a time. The ranks take turns with the texts; rank 0
/// prints.
int generate_from_prompts(const GenerateOptions& given, std::vector<LoadedModel>& models,
                          const Join& join) {
  const auto& loaded = models.front();
  const auto& task = loaded.options.task;
  const auto flags = prompt_options(given, find_task(task.task).text_rules(task).running_text);
  validate_prompts(flags);
  const auto options = generation_options(flags);
  auto gpt = loaded.language_model("evomoe generate --prompt");
  const auto model = generation_model(models, flags.search, "evomoe generate --prompt");
  const auto communicator = join(model_facts(loaded));
  Prompts prompts(flags, model, *communicator);
  int64_t texts_before = 0;
  for (auto next = prompts.next(); !next.empty(); next = prompts.next()) {
    std::vector<std::vector<int64_t>> tokens;
    for (const auto& prompt : next)
      tokens.push_back(prompt_tokens(model, prompt, flags.keep_whitespace));
    const auto texts = static_cast<int64_t>(next.size()) * flags.num_samples;
    for (int64_t first = 0; first < texts; first += communicator->size()) {
      const auto own = first + communicator->rank();
      std::string line;
      if (own < texts) {
        const auto of = static_cast<size_t>(own / flags.num_samples);
        const auto made =
            generate(gpt, tokens[of], options, static_cast<uint32_t>(texts_before + own));
        line = sample_line(flags, model, next[of].text, own % flags.num_samples, made);
      }
      for (const auto& each : gather_texts(std::move(line), *communicator)) fmt::print("{}", each);
      std::fflush(stdout);
    }
    texts_before += texts;
  }
  return 0;
}

/// Translates (or goes on with) the items of a split.
int generate_from_data(const GenerateOptions& flags, std::vector<LoadedModel>& models,
                       const Join& join) {
  validate_generation(flags);
  auto& loaded = models.front();
  if (flags.truncate_source) {
    loaded.encoder_decoder("--truncate-source");
    loaded.options.task.truncate_source = true;
  }
  for (const auto& each : models) lower_positions(loaded.options, each.options);
  const auto model = generation_model(models, flags.search, "evomoe generate");
  const auto subset = flags.gen_subset.value_or("test");
  const auto data = open_task_data(*flags.data, loaded.options);
  const auto dataset = find_task(loaded.options.task.task).open_sources(*data, subset);
  RankFacts facts;
  for (const auto& each : models) facts.merge(model_facts(each));
  facts["the data"] = data_fact(*dataset);
  const auto communicator = join(facts);
  if (!flags.results_path || communicator->rank() > 0) {
    generate_subset(model, *dataset, subset, flags, std::cout, *communicator);
    return 0;
  }
  std::filesystem::create_directories(*flags.results_path);
  const auto path =
      std::filesystem::path(*flags.results_path) / fmt::format("generate-{}.txt", subset);
  std::ofstream file(path);
  EVOMOE_CHECK(file, "--results-path {}: {} cannot be written", *flags.results_path, path.string());
  generate_subset(model, *dataset, subset, flags, file, *communicator);
  return 0;
}

}  // namespace

int generate_command(const std::vector<std::string>& arguments) {
  GenerateOptions flags;
  OptionTable table("generate", command_summary("generate"));
  flags.describe(table);
  if (!parse_quietly(table, arguments)) return 0;
  validate_options(flags);
  const auto [place, exit_code] = rank_of_command("generate", arguments, flags.distributed,
                                                  flags.common, [&] { validate_options(flags); });
  if (exit_code) return *exit_code;
  tell_notices(table);
  const Join join = [&, place = place](const RankFacts& facts) {
    return join_command(place, table, flags.distributed, facts);
  };
  auto models = load_models(
      flags.path, {.data = flags.data.value_or(""),
                   .bpe = flags.bpe,
                   .eval_capacity_fraction = flags.search.moe_eval_capacity_token_fraction,
                   .dtype = flags.dtype,
                   .common = flags.common});
  const auto& task = models.front().options.task;
  if (!find_task(task.task).text_rules(task).translates && !flags.gen_subset) {
    if (models.size() > 1) {
      fail_usage(
          "--path {}: prompts are continued by one model; name one checkpoint, or a split of DATA "
          "with --gen-subset",
          flags.path);
    }
    return generate_from_prompts(flags, models, join);
  }
  if (flags.prompt || flags.input != "-") {
    fail_usage(
        "{} was trained with --task {}, which continues no prompts; use `evomoe interactive` for "
        "lines of text",
        flags.path, task.task);
  }
  if (!flags.data)
    fail_usage("evomoe generate: name DATA, the data-bin folder of the split to translate");
  return generate_from_data(flags, models, join);
}

}  // namespace evomoe
