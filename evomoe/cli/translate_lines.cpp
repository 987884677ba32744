#include "evomoe/cli/translate_lines.h"

#include <algorithm>
#include <chrono>
#include <istream>
#include <numeric>
#include <ostream>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/data/batching.h"
#include "evomoe/data/text_lines.h"
#include "evomoe/data/token_text.h"
#include "evomoe/train/compute_threads.h"
#include "evomoe/train/search_arguments.h"

namespace evomoe {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// What the model reads of a line.
std::vector<int64_t> source_tokens(const GenerationModel& model, const std::string& line) {
  std::vector<int64_t> tokens;
  if (model.bpe == nullptr) {
    tokens = model.source->encode_line(line, /*append_eos=*/false);
  } else {
    for (const auto id : model.bpe->encode(line))
      tokens.push_back(model.source->index(std::to_string(id)));
  }
  // A language model goes on behind the line; others know from </s> that it is whole.
  if (model.continues_source) {
    tokens.insert(tokens.begin(), model.start_token);
  } else {
    tokens.push_back(Dictionary::kEos);
  }
  return tokens;
}

/// `first`: number of line 0 in the whole input.
Batch batch_of(const GenerationModel& model, const std::vector<std::vector<int64_t>>& sources,
               std::span<const int64_t> lines, int64_t first) {
  Batch batch;
  batch.rows = static_cast<int64_t>(lines.size());
  for (const auto line : lines) {
    const auto length = static_cast<int64_t>(sources[static_cast<size_t>(line)].size());
    batch.ids.push_back(first + line);
    batch.lengths.push_back(length);
    batch.columns = std::max(batch.columns, length);
    batch.tokens += length;
  }
  for (const auto line : lines) {
    const auto& source = sources[static_cast<size_t>(line)];
    const std::vector<int64_t> padding(static_cast<size_t>(batch.columns) - source.size(),
                                       Dictionary::kPad);
    if (model.left_pad_source)
      batch.source.insert(batch.source.end(), padding.begin(), padding.end());
    batch.source.insert(batch.source.end(), source.begin(), source.end());
    if (!model.left_pad_source)
      batch.source.insert(batch.source.end(), padding.begin(), padding.end());
  }
  return batch;
}

}  // namespace

void translate_lines(const GenerationModel& model, const InteractiveOptions& flags,
                     std::istream& in, std::ostream& out) {
  const auto options = search_options(flags);
  const auto begin = Clock::now();
  ComputeThreads threads(flags.common.threads);
  double translating = 0;
  int64_t first = 0;
  BatchLimits limits;
  limits.max_tokens = flags.search.max_tokens.value_or(0);
  limits.max_sentences = flags.search.batch_size.value_or(flags.search.max_tokens ? 0 : 1);
  limits.multiple = 1;
  for (bool more = true; more;) {
    std::vector<std::vector<int64_t>> sources;
    std::string line;
    while (static_cast<int64_t>(sources.size()) < flags.buffer_size &&
           (more = static_cast<bool>(std::getline(in, line)))) {
      sources.push_back(source_tokens(model, std::string(strip(line))));
      const auto length = static_cast<int64_t>(sources.back().size());
      EVOMOE_CHECK(length <= model.max_source_positions,
                   "line {} has {} tokens, more than the {} positions of the model; split it",
                   first + static_cast<int64_t>(sources.size()), length,
                   model.max_source_positions);
    }
    const auto size = [&](int64_t i) {
      return static_cast<int64_t>(sources[static_cast<size_t>(i)].size());
    };
    std::vector<int64_t> order(sources.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return size(a) < size(b); });
    std::vector<std::string> written(sources.size());
    const auto batches = batch_by_size(order, size, limits);
    for (int64_t b = 0; b < batches.size(); ++b) {
      const auto batch_begin = Clock::now();
      const auto batch = batch_of(model, sources, batches[b], first);
      threads.begin();
      const auto found = hypotheses_of(model, batch, options, 0);
      threads.end(static_cast<double>(batch.rows * batch.columns));
      const double seconds = seconds_since(batch_begin);
      translating += seconds;
      for (size_t i = 0; i < found.size(); ++i) {
        const auto at = static_cast<size_t>(batches[b][i]);
        SentenceText sentence;
        sentence.id = first + batches[b][i];
        sentence.source = symbol_text(*model.source, sources[at], flags.search.post_process);
        sentence.hypotheses =
            hypothesis_texts(model, found[i], flags.nbest, flags.search.post_process);
        written[at] = interactive_lines(sentence, seconds / static_cast<double>(found.size()));
      }
    }
    for (const auto& lines : written) out << lines;
    out.flush();
    first += static_cast<int64_t>(sources.size());
  }
  log().info("Total time: {:.3f} seconds; translation time: {:.3f}", seconds_since(begin),
             translating);
}

}  // namespace evomoe
