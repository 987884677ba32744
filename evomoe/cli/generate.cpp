#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>

#include "evomoe/base/error.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/config/validate_options.h"
#include "evomoe/generate/evaluation_options.h"
#include "evomoe/generate/generate_subset.h"
#include "evomoe/generate/text_generator.h"
#include "evomoe/loading/loaded_model.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/token_text.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/task.h"

namespace evomoe {
namespace {

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

/// Calls `take` with each line of the file (or stdin), or with the one prompt of the command line.
void for_each_prompt(
    const GenerateOptions& flags, const GenerationModel& model,
    const std::function<void(const std::string& text, const std::string& name)>& take) {
  if (flags.prompt) {
    take(*flags.prompt, "--prompt");
    return;
  }
  if (flags.input == "-" && isatty(STDIN_FILENO) != 0)
    log().info("reading prompts from the terminal, one a line; end with Ctrl-D");
  LineReader reader("input", flags.input);
  for (std::string line; reader.next(line);) {
    if (model.bpe == nullptr) require_utf8(line, reader.where());
    take(line, reader.where());
  }
  EVOMOE_CHECK(reader.number() > 0,
               "there is no prompt: give --prompt TEXT, or lines on stdin or in --input FILE");
}

/// Goes on with each prompt, one token at a time.
int generate_from_prompts(const GenerateOptions& given, std::vector<LoadedModel>& models) {
  const auto& loaded = models.front();
  const auto& task = loaded.options.task;
  const auto flags = prompt_options(given, find_task(task.task).text_rules(task).running_text);
  validate_prompts(flags);
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
  auto gpt = loaded.language_model("evomoe generate --prompt");
  const auto model = generation_model(models, flags.search, "evomoe generate --prompt");
  uint32_t stream = 0;
  for_each_prompt(flags, model, [&](const std::string& line, const std::string& name) {
    const std::string prompt(flags.keep_whitespace ? line : strip(line));
    const auto tokens = source_tokens(model, line, flags.keep_whitespace);
    const auto length = static_cast<int64_t>(tokens.size());
    const auto read = prompt_window(length, model.max_source_positions);
    if (read < length) {
      log().warn(
          "{}: the prompt has {} tokens, more than the {} positions of the model; only its "
          "last {} are read",
          name, length, model.max_source_positions, read);
    }
    for (int64_t sample = 0; sample < flags.num_samples; ++sample) {
      const auto made = generate(gpt, tokens, options, stream++);
      const auto text = continuation(model, made);
      const bool words = model.bpe == nullptr && !prompt.empty();
      if (flags.common.log_format == "json") {
        nlohmann::ordered_json object;
        object["prompt"] = prompt;
        object["sample"] = sample;
        object["text"] = text;
        object["tokens"] = made.size();
        fmt::print("{}\n", object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
      } else {
        fmt::print("{}{}{}\n", prompt, words ? " " : "", text);
      }
      std::fflush(stdout);
    }
  });
  return 0;
}

/// Translates (or goes on with) the items of a split.
int generate_from_data(const GenerateOptions& flags, std::vector<LoadedModel>& models) {
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
  if (!flags.results_path) {
    generate_subset(model, *dataset, subset, flags, std::cout);
    return 0;
  }
  std::filesystem::create_directories(*flags.results_path);
  const auto path =
      std::filesystem::path(*flags.results_path) / fmt::format("generate-{}.txt", subset);
  std::ofstream file(path);
  EVOMOE_CHECK(file, "--results-path {}: {} cannot be written", *flags.results_path, path.string());
  generate_subset(model, *dataset, subset, flags, file);
  return 0;
}

}  // namespace

int generate_command(const std::vector<std::string>& arguments) {
  GenerateOptions flags;
  const auto bind = [](OptionTable& table, GenerateOptions& o) { describe(table, o); };
  if (!parse_command("generate", arguments, flags, bind)) return 0;
  validate_options(flags);
  auto models = load_models(
      flags.path, {.data = flags.data.value_or(""),
                   .bpe = flags.bpe,
                   .eval_capacity_fraction = flags.search.moe_eval_capacity_token_fraction,
                   .common = flags.common});
  const auto& task = models.front().options.task;
  if (!find_task(task.task).text_rules(task).translates && !flags.gen_subset) {
    if (models.size() > 1) {
      fail_usage(
          "--path {}: prompts are continued by one model; name one checkpoint, or a split of DATA "
          "with --gen-subset",
          flags.path);
    }
    return generate_from_prompts(flags, models);
  }
  if (flags.prompt || flags.input != "-") {
    fail_usage(
        "{} was trained with --task {}, which continues no prompts; use `evomoe interactive` for "
        "lines of text",
        flags.path, task.task);
  }
  if (!flags.data)
    fail_usage("evomoe generate: name DATA, the data-bin folder of the split to translate");
  return generate_from_data(flags, models);
}

}  // namespace evomoe
