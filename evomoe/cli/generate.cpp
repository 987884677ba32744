#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>

#include "evomoe/base/error.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/generate_subset.h"
#include "evomoe/cli/parse.h"
#include "evomoe/config/validate_options.h"
#include "evomoe/models/text_generator.h"
#include "evomoe/train/loaded_model.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/task.h"

namespace evomoe {
namespace {

/// Text to model tokens: by the BPE, or split at white space. The end-of-sentence token comes
/// first, as before each training line.
std::vector<int64_t> encode(const LoadedModel& loaded, const std::string& text) {
  std::vector<int64_t> tokens = {Dictionary::kEos};
  if (loaded.bpe == nullptr) {
    const auto words = loaded.dictionary.encode_line(text, /*append_eos=*/false);
    tokens.insert(tokens.end(), words.begin(), words.end());
  } else {
    for (const auto id : loaded.bpe->encode(text))
      tokens.push_back(loaded.dictionary.index(std::to_string(id)));
  }
  return tokens;
}

std::string decode(const LoadedModel& loaded, const std::vector<int64_t>& tokens) {
  if (loaded.bpe == nullptr) return loaded.dictionary.string(tokens);
  std::string text;
  std::vector<int32_t> run;
  const auto flush = [&] {
    text += loaded.bpe->decode(run);
    run.clear();
  };
  for (const auto token : tokens) {
    if (token == Dictionary::kEos) {
      flush();
      text += "\n";
      continue;
    }
    // What stands for no BPE token is not text.
    if (const auto id = bpe_token_of(loaded.dictionary.symbol(token))) run.push_back(*id);
  }
  flush();
  return text;
}

/// Each line of the file (or stdin) is a prompt.
std::vector<std::string> read_prompts(const GenerateOptions& flags) {
  if (flags.prompt) return {*flags.prompt};
  std::vector<std::string> prompts;
  std::ifstream file;
  if (flags.input != "-") {
    file.open(flags.input);
    EVOMOE_CHECK(file, "--input {}: the file cannot be read", flags.input);
  } else if (isatty(STDIN_FILENO) != 0) {
    log().info("reading prompts from the terminal, one a line; end with Ctrl-D");
  }
  std::istream& stream = flags.input == "-" ? std::cin : file;
  for (std::string line; std::getline(stream, line);) prompts.push_back(line);
  EVOMOE_CHECK(!prompts.empty(),
               "there is no prompt: give --prompt TEXT, or lines on stdin or in --input FILE");
  return prompts;
}

/// Goes on with each prompt, one token at a time.
int generate_from_prompts(const GenerateOptions& flags, LoadedModel& loaded) {
  validate_prompts(flags);
  GenerationOptions options;
  options.max_new_tokens = flags.max_len;
  options.min_new_tokens = flags.min_len.value_or(0);
  options.sample = flags.sampling;
  options.temperature = flags.temperature;
  options.top_k = std::max<int64_t>(flags.sampling_topk, 0);
  options.top_p = std::max(flags.sampling_topp, 0.0);
  options.seed = static_cast<uint64_t>(flags.common.seed);
  options.end_token = flags.ignore_eos ? -1 : Dictionary::kEos;
  options.never = {Dictionary::kPad, Dictionary::kBos, Dictionary::kUnk};
  options.validate();
  auto model = loaded.language_model("evomoe generate --prompt");
  uint32_t stream = 0;
  for (const auto& prompt : read_prompts(flags)) {
    for (int64_t sample = 0; sample < flags.num_samples; ++sample) {
      const auto tokens = generate(model, encode(loaded, prompt), options, stream++);
      const auto text = decode(loaded, tokens);
      const bool words = loaded.bpe == nullptr && !prompt.empty();
      if (flags.common.log_format == "json") {
        nlohmann::ordered_json line;
        line["prompt"] = prompt;
        line["sample"] = sample;
        line["text"] = text;
        line["tokens"] = tokens.size();
        fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
      } else {
        fmt::print("{}{}{}\n", prompt, words ? " " : "", text);
      }
      std::fflush(stdout);
    }
  }
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
  const auto dataset = data->open(subset, /*combine=*/false, /*pad_to_batch_size=*/0);
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
  const bool translation = models.front().options.task.task == "translation";
  if (!translation && !flags.gen_subset) {
    if (models.size() > 1) {
      fail_usage(
          "--path {}: prompts are continued by one model; name one checkpoint, or a split of DATA "
          "with --gen-subset",
          flags.path);
    }
    return generate_from_prompts(flags, models.front());
  }
  if (flags.prompt || flags.input != "-") {
    fail_usage(
        "{} was trained with --task translation, which continues no prompts; use `evomoe "
        "interactive` for lines of text",
        flags.path);
  }
  if (!flags.data)
    fail_usage("evomoe generate: name DATA, the data-bin folder of the split to translate");
  return generate_from_data(flags, models);
}

}  // namespace evomoe
