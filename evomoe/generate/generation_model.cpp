#include "evomoe/generate/generation_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/generate/ensemble_steps.h"
#include "evomoe/generate/language_model_steps.h"
#include "evomoe/generate/translation_steps.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/text_tokens.h"
#include "evomoe/text/token_text.h"
#include "evomoe/text/tokenizer_rules.h"
#include "evomoe/train/contexts.h"

namespace evomoe {
namespace {

void check_language(const std::string& option, const std::optional<std::string>& asked,
                    const std::optional<std::string>& trained, const LoadedModel& loaded) {
  if (!asked || asked == trained) return;
  fail_usage("{} {}: {} was trained with {}", option, *asked, loaded.path.string(),
             trained ? option + " " + *trained : "--task " + loaded.options.task.task);
}

using Start = std::function<std::unique_ptr<NextTokens>(const Batch& batch)>;

/// How one model begins hypotheses, and the positions of its source.
std::pair<Start, int64_t> start_of(const LoadedModel& loaded, const std::string& command) {
  const auto context = unpadded_context(loaded.options, loaded.updates);
  const auto& task = loaded.options.task;
  if (find_task(task.task).text_rules(task).continues_source) {
    auto language_model = loaded.language_model(command);
    return {[language_model, context](const Batch&) {
              return std::make_unique<LanguageModelSteps>(language_model, context);
            },
            language_model->options().max_positions};
  }
  auto pair = loaded.encoder_decoder(command);
  return {[pair, context](const Batch& batch) {
            const auto source_BS =
                torch::tensor(batch.source, torch::kInt64).view({batch.rows, batch.columns});
            return std::make_unique<TranslationSteps>(pair, source_BS, context);
          },
          pair->options().encoder.max_positions};
}

/// Leaves what stands behind the first `prefix` tokens, with the score of that alone, the best
/// first.
void keep_answers(std::vector<Hypothesis>& hypotheses, size_t prefix,
                  const BeamSearchOptions& options) {
  for (auto& [token, score, positional_score] : hypotheses) {
    const auto count = static_cast<int64_t>(std::min(prefix, token.size()));
    token.erase(token.begin(), token.begin() + count);
    positional_score.erase(positional_score.begin(), positional_score.begin() + count);
    score = std::accumulate(positional_score.begin(), positional_score.end(), 0.0F);
    if (options.normalize && !token.empty())
      score /= static_cast<float>(std::pow(static_cast<double>(token.size()), options.lenpen));
  }
  std::stable_sort(hypotheses.begin(), hypotheses.end(),
                   [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
}

/// Puts the first token of a prompt, with which the search began, before its continuations: it is a
/// part of the text as others are.
void write_start(std::vector<Hypothesis>& hypotheses, int64_t start) {
  for (auto& hypothesis : hypotheses) {
    hypothesis.token.insert(hypothesis.token.begin(), start);
    hypothesis.positional_score.insert(hypothesis.positional_score.begin(), 0.0F);
  }
}

}  // namespace

GenerationModel generation_model(const std::vector<LoadedModel>& models, const SearchFlags& flags,
                                 const std::string& command) {
  const auto& first = models.front();
  const auto& task = first.options.task;
  check_language("--source-lang", flags.source_lang, task.source_lang, first);
  check_language("--target-lang", flags.target_lang, task.target_lang, first);
  GenerationModel model;
  model.rules = find_task(task.task).text_rules(task);
  model.source = model.rules.continues_source ? &first.dictionary : &first.source_dictionary;
  model.target = &first.dictionary;
  model.bpe = first.bpe.get();
  if (model.rules.continues_source) {
    model.start_token = task.add_bos_token ? Dictionary::kBos : Dictionary::kEos;
    // A model of Hugging Face; one of ours begins with </s>, whatever cuts its text.
    if (model.bpe != nullptr && model.bpe->rules() != nullptr && model.source->special_ids()) {
      model.rules.whole_prompts = true;
      model.prompt_start.emplace();
      for (const auto id : model.bpe->rules()->at_start)
        model.prompt_start->push_back(text_token(std::to_string(id), *model.source));
    }
  } else {
    model.left_pad_source = task.left_pad_source;
  }
  model.max_source_positions = std::numeric_limits<int64_t>::max();
  for (const auto& loaded : models) {
    const auto [start, positions] = start_of(loaded, command);
    model.starts.push_back(start);
    model.max_source_positions = std::min(model.max_source_positions, positions);
  }
  return model;
}

std::vector<int64_t> source_tokens(const GenerationModel& model, std::string_view text,
                                   bool keep_whitespace) {
  if (!keep_whitespace) text = strip(text);
  std::vector<int64_t> tokens;
  if (model.prompt_start) tokens = *model.prompt_start;
  // There must be something that a text can begin with.
  const bool nothing = tokens.empty() && text.empty();
  if (model.rules.continues_source && (!model.prompt_start || nothing))
    tokens.push_back(model.start_token);
  const auto append = [&](const std::vector<int64_t>& more) {
    tokens.insert(tokens.end(), more.begin(), more.end());
  };
  if (model.rules.whole_prompts) {
    append(text_tokens(text, *model.source, model.bpe));
    return tokens;
  }
  bool first = true;
  for_each_line(text, [&](std::string_view line) {
    if (!first) tokens.push_back(Dictionary::kEos);
    first = false;
    // As `preprocess` reads lines of words, in which `</s>` is that token.
    append(model.bpe != nullptr ? text_tokens(line, *model.source, model.bpe)
                                : model.source->encode_line(line, /*append_eos=*/false));
  });
  if (text.ends_with('\n') || text.ends_with('\r')) tokens.push_back(Dictionary::kEos);
  // A language model goes on behind the text; others know from </s> that it is whole.
  if (!model.rules.continues_source) tokens.push_back(Dictionary::kEos);
  return tokens;
}

std::vector<std::vector<Hypothesis>> hypotheses_of(const GenerationModel& model, const Batch& batch,
                                                   BeamSearchOptions options, int64_t prefix_size) {
  SearchBatch sentences;
  sentences.sentences = static_cast<int64_t>(batch.ids.size());
  sentences.source_columns = batch.columns;
  sentences.ids = batch.ids;
  options.start_token = model.start_token;
  if (model.rules.continues_source) {
    for (int64_t row = 0; row < sentences.sentences; ++row)
      sentences.prefix.push_back(row_without_padding(batch.source, batch.columns, row));
    // A start that all sources have is read once; as in fairseq, otherwise none counts as one.
    const auto begins = [&](const auto& prefix) {
      return !prefix.empty() && prefix.front() == options.start_token;
    };
    if (std::all_of(sentences.prefix.begin(), sentences.prefix.end(), begins)) {
      for (auto& prefix : sentences.prefix) prefix.erase(prefix.begin());
    } else if (model.prompt_start) {
      for (auto& prefix : sentences.prefix) {
        sentences.start.push_back(prefix.empty() ? options.start_token : prefix.front());
        if (!prefix.empty()) prefix.erase(prefix.begin());
      }
    }
    if (model.rules.answers) {
      // The limits are those of what stands behind the longest source.
      size_t longest = 0;
      for (const auto& prefix : sentences.prefix) longest = std::max(longest, prefix.size());
      options.max_len_b += static_cast<int64_t>(longest);
      options.min_len = std::min(options.min_len + static_cast<int64_t>(longest),
                                 std::max<int64_t>(model.max_source_positions - 1, 1));
    }
  } else if (prefix_size > 0) {
    EVOMOE_CHECK(!batch.target.empty(), "--prefix-size {}: the data has no target side",
                 prefix_size);
    for (int64_t row = 0; row < sentences.sentences; ++row) {
      const auto begin = batch.target.begin() + row * batch.target_columns;
      sentences.prefix.emplace_back(begin, begin + std::min(prefix_size, batch.target_columns));
    }
  }
  std::vector<std::unique_ptr<NextTokens>> steps;
  for (const auto& start : model.starts) steps.push_back(start(batch));
  EnsembleSteps together(std::move(steps), std::exchange(options.temperature, 1.0));
  auto found = beam_search(together, sentences, options);
  if (model.rules.continues_source && model.rules.answers) {
    for (size_t row = 0; row < found.size(); ++row)
      keep_answers(found[row], sentences.prefix[row].size(), options);
  } else {
    // The model's own start is no part of it, whatever begins the other rows.
    for (size_t row = 0; row < sentences.start.size(); ++row) {
      if (sentences.start[row] != options.start_token)
        write_start(found[row], sentences.start[row]);
    }
  }
  return found;
}

int64_t tokens_of(const std::vector<std::vector<Hypothesis>>& found) {
  int64_t tokens = 0;
  for (const auto& of_sentence : found) {
    if (!of_sentence.empty()) tokens += static_cast<int64_t>(of_sentence.front().token.size());
  }
  return tokens;
}

std::vector<int64_t> row_without_padding(const std::vector<int64_t>& matrix, int64_t columns,
                                         int64_t row) {
  std::vector<int64_t> tokens;
  for (int64_t column = 0; column < columns; ++column) {
    const auto token = matrix[static_cast<size_t>(row * columns + column)];
    if (token != Dictionary::kPad) tokens.push_back(token);
  }
  return tokens;
}

std::vector<HypothesisText> hypothesis_texts(const GenerationModel& model,
                                             const std::vector<Hypothesis>& hypotheses,
                                             int64_t nbest,
                                             const std::optional<std::string>& post_process) {
  std::vector<HypothesisText> texts;
  for (const auto& hypothesis : hypotheses) {
    if (static_cast<int64_t>(texts.size()) == nbest) break;
    const auto symbols = symbol_text(*model.target, hypothesis.token, post_process);
    texts.push_back(
        {symbols, decoded_text(model.bpe, symbols), hypothesis.score, hypothesis.positional_score});
  }
  return texts;
}

}  // namespace evomoe
