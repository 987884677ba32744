#include "evomoe/generate/search_arguments.h"

#include <algorithm>

namespace evomoe {
namespace {

template <typename Flags>
BeamSearchOptions common_options(const Flags& flags) {
  BeamSearchOptions options;
  options.beam = flags.search.beam;
  options.max_len_a = flags.search.max_len_a;
  options.max_len_b = flags.max_len;
  options.normalize = !flags.search.unnormalized;
  options.lenpen = flags.search.lenpen;
  options.unkpen = flags.search.unkpen;
  options.temperature = flags.temperature;
  options.no_repeat_ngram = flags.search.no_repeat_ngram_size;
  options.sampling = std::optional<bool>(flags.sampling).value_or(false);
  options.sampling_topk =
      std::max<int64_t>(std::optional<int64_t>(flags.sampling_topk).value_or(0), 0);
  options.sampling_topp = std::max(flags.sampling_topp, 0.0);
  options.seed = static_cast<uint64_t>(flags.common.seed);
  options.validate();
  return options;
}

}  // namespace

BeamSearchOptions search_options(const GenerateOptions& flags) {
  auto options = common_options(flags);
  options.min_len = flags.min_len.value_or(1);
  return options;
}

BeamSearchOptions search_options(const InteractiveOptions& flags) {
  auto options = common_options(flags);
  options.min_len = flags.min_len;
  return options;
}

}  // namespace evomoe
