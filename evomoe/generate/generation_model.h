#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evomoe/data/dataset.h"
#include "evomoe/generate/beam_search.h"
#include "evomoe/generate/generate_lines.h"
#include "evomoe/generate/generate_options.h"
#include "evomoe/loading/loaded_model.h"
#include "evomoe/text/byte_bpe.h"
#include "evomoe/train/task.h"

namespace evomoe {

/// What `generate` of a split and `interactive` know of a checkpoint: how to begin hypotheses for a
/// batch, and how tokens are written.
struct GenerationModel {
  const Dictionary* source = nullptr;
  const Dictionary* target = nullptr;
  const ByteBpe* bpe = nullptr;  ///< null: text is words
  TextRules rules;
  int64_t start_token = Dictionary::kEos;  ///< read before a hypothesis
  /// Read before a prompt, in place of it, by a language model of Hugging Face: what its tokenizer
  /// puts there; it may be nothing.
  std::optional<std::vector<int64_t>> prompt_start;
  bool left_pad_source = false;
  int64_t max_source_positions = 0;
  /// One for each model.
  std::vector<std::function<std::unique_ptr<NextTokens>(const Batch& batch)>> starts;
};

/// Of encoder-decoders or language models of one kind (load_models()), which must outlive it; of
/// several the probabilities are averaged. Error for another task, which names `command`.
/// UsageError: languages that the checkpoints do not translate.
GenerationModel generation_model(const std::vector<LoadedModel>& models, const SearchFlags& flags,
                                 const std::string& command);

/// What the model reads of a text: for a language model its start of a sentence (<s> with
/// --add-bos-token, else </s>) and then the text, else the text and </s>. White space at both ends
/// is left out unless it is to be kept; an end of line within is an </s>. For a model of Hugging
/// Face its tokenizer says what stands before a text, and an end of line is a byte like others.
std::vector<int64_t> source_tokens(const GenerationModel& model, std::string_view text,
                                   bool keep_whitespace);

/// The hypotheses of a batch's sentences. `prefix_size`: target tokens that they begin with.
std::vector<std::vector<Hypothesis>> hypotheses_of(const GenerationModel& model, const Batch& batch,
                                                   BeamSearchOptions options, int64_t prefix_size);

/// Tokens of the best hypotheses, which the time of the search is proportional to.
int64_t tokens_of(const std::vector<std::vector<Hypothesis>>& found);

/// Row `row` of a matrix of tokens, without padding.
std::vector<int64_t> row_without_padding(const std::vector<int64_t>& matrix, int64_t columns,
                                         int64_t row);

/// How the sentence's first `nbest` hypotheses are written.
std::vector<HypothesisText> hypothesis_texts(const GenerationModel& model,
                                             const std::vector<Hypothesis>& hypotheses,
                                             int64_t nbest,
                                             const std::optional<std::string>& post_process);

}  // namespace evomoe
