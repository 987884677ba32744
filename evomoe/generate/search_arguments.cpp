#include "evomoe/generate/search_arguments.h"

#include <algorithm>

namespace evomoe {

BeamSearchOptions search_options(const BeamOptions& beam, const SamplingOptions& sampling,
                                 int64_t min_len, int64_t max_len, int64_t seed) {
  BeamSearchOptions options;
  options.beam = beam.beam;
  options.max_len_a = beam.max_len_a;
  options.max_len_b = max_len;
  options.min_len = min_len;
  options.normalize = !beam.unnormalized;
  options.lenpen = beam.lenpen;
  options.unkpen = beam.unkpen;
  options.no_repeat_ngram = beam.no_repeat_ngram_size;
  options.temperature = sampling.temperature;
  options.sampling = sampling.sampling.value_or(false);
  options.sampling_topk = std::max<int64_t>(sampling.sampling_topk.value_or(0), 0);
  options.sampling_topp = std::max(sampling.sampling_topp, 0.0);
  options.seed = static_cast<uint64_t>(seed);
  options.validate();
  return options;
}

}  // namespace evomoe
