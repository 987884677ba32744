#include "evomoe/generate/translate_lines.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <ostream>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/data/batching.h"
#include "evomoe/generate/search_arguments.h"
#include "evomoe/runtime/compute_threads.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/token_text.h"

namespace evomoe {
namespace {

using SteadyClock = std::chrono::steady_clock;

double seconds_since(SteadyClock::time_point begin) {
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

/// The lines that are translated together; those that are left out have no tokens.
using Sources = std::vector<std::vector<int64_t>>;

/// `first`: number of line 0 in the whole input.
Batch batch_of(const GenerationModel& model, const Sources& sources, std::span<const int64_t> lines,
               int64_t first) {
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

void translate_lines(const GenerationModel& model, const InteractiveOptions& flags, LineReader& in,
                     std::ostream& out) {
  const auto options = search_options(flags);
  const auto begin = SteadyClock::now();
  ComputeThreads threads(flags.common.threads);
  double translating = 0;
  int64_t first = 0;
  BatchLimits limits;
  limits.max_tokens = flags.search.max_tokens.value_or(0);
  limits.max_sentences = flags.search.batch_size.value_or(flags.search.max_tokens ? 0 : 1);
  limits.multiple = 1;
  const auto size_of = [](const std::vector<int64_t>& source) {
    return static_cast<int64_t>(source.size());
  };
  /// Why a line cannot be translated; nothing where it can.
  const auto refusal = [&](const std::vector<int64_t>& source) -> std::string {
    if (size_of(source) > model.max_source_positions) {
      return fmt::format("{}: the line has {} tokens, more than the {} positions of the model",
                         in.where(), size_of(source), model.max_source_positions);
    }
    if (limits.max_tokens > 0 && size_of(source) > limits.max_tokens) {
      return fmt::format("{}: the line has {} tokens, more than --max-tokens {}", in.where(),
                         size_of(source), limits.max_tokens);
    }
    return "";
  };
  /// Translates the lines and writes them in their order.
  const auto translate = [&](const Sources& sources) {
    const auto size = [&](int64_t i) { return size_of(sources[static_cast<size_t>(i)]); };
    std::vector<int64_t> order;
    for (int64_t i = 0; i < static_cast<int64_t>(sources.size()); ++i)
      if (size(i) > 0) order.push_back(i);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return size(a) < size(b); });
    std::vector<std::string> written(sources.size());
    const auto write = [&] {
      for (const auto& lines : written) out << lines;
      out.flush();
    };
    try {
      const auto batches = batch_by_size(order, size, limits);
      for (int64_t b = 0; b < batches.size(); ++b) {
        const auto batch_begin = SteadyClock::now();
        const auto batch = batch_of(model, sources, batches[b], first);
        threads.begin();
        const auto found = hypotheses_of(model, batch, options, 0);
        threads.end(static_cast<double>(tokens_of(found)));
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
    } catch (...) {
      write();  // what is translated already
      throw;
    }
    write();
    first += static_cast<int64_t>(sources.size());
  };
  for (bool more = true; more;) {
    Sources sources;
    std::string line, failure;
    while (failure.empty() && static_cast<int64_t>(sources.size()) < flags.buffer_size &&
           (more = in.next(line))) {
      if (model.bpe == nullptr && !is_utf8(line)) {
        failure = not_utf8(in.where());
        continue;
      }
      auto source = source_tokens(model, line, flags.keep_whitespace);
      const auto reason = refusal(source);
      if (!reason.empty() && !flags.skip_invalid_size_inputs_valid_test) {
        failure = reason +
                  "; split it, or leave such lines out with --skip-invalid-size-inputs-valid-test";
      } else if (!reason.empty()) {
        log().warn("{}; it is left out", reason);
        sources.emplace_back();
      } else {
        sources.push_back(std::move(source));
      }
    }
    if (!sources.empty()) translate(sources);
    if (!failure.empty()) fail("{}", failure);
  }
  log().info("Total time: {:.3f} seconds; translation time: {:.3f}", seconds_since(begin),
             translating);
}

}  // namespace evomoe
