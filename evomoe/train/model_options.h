#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "evomoe/models/encoder_decoder.h"
#include "evomoe/models/gpt.h"
#include "evomoe/models/model.h"
#include "evomoe/models/roberta.h"
#include "evomoe/routing/router.h"
#include "evomoe/train/options.h"

/// From the user's words to the options of a model: architecture defaults, overridden by
/// what was given.
namespace evomoe {

/// Symbols of the dictionaries that a model is made for.
struct Vocabulary {
  int64_t source = 0;
  int64_t target = 0;  ///< the same as source, but in translation
  int64_t padding = 1;

  static Vocabulary of_one(int64_t size, int64_t padding) { return {size, size, padding}; }
};

/// `shared_expert`: the MoE layers hold the one shared expert that they start with. Each throws
/// UsageError for combinations that cannot be built.
GptOptions gpt_options(const TrainOptions& options, int64_t vocab_size, int64_t padding_index,
                       bool shared_expert);
RobertaOptions roberta_options(const TrainOptions& options, int64_t vocab_size,
                               int64_t padding_index, bool shared_expert);
EncoderDecoderOptions encoder_decoder_options(const TrainOptions& options,
                                              const Vocabulary& vocabulary, bool shared_expert);

/// The encoder and the decoder of the model, or the one of them that it has.
std::vector<TransformerStackOptions> stack_options(const TrainOptions& options,
                                                   const Vocabulary& vocabulary,
                                                   bool shared_expert);

/// The model of --task and --arch. UsageError when they do not go together.
ModelPtr make_model(const TrainOptions& options, const Vocabulary& vocabulary, bool shared_expert);

/// Refuses, as make_model does and without making one, what cannot be built.
void check_model(const TrainOptions& options);

/// The options of the MoE layers' routers; every method gets all of them.
RouterOptions router_options(const TrainOptions& options, int64_t embed_dim);

/// Whether any layer of a decoder is MoE, and not a dense one in its place.
bool has_causal_experts(const TrainOptions& options);
/// Whether any layer is MoE, and not a dense one in its place.
bool has_experts(const TrainOptions& options);

/// Width of the model.
int64_t embed_dim_of(const TrainOptions& options);

/// Positions of an encoder-decoder's halves where they are not given.
inline constexpr int64_t kPairPositions = 1024;

/// Whether the model reads one sequence and predicts another.
bool reads_pairs(const TrainOptions& options);

/// The longest item that the model has positions for; in translation, the longest target.
int64_t longest_item(const TrainOptions& options);

/// The options that raise the positions of the model.
std::vector<std::string> positions_options(const TrainOptions& options);

/// Lowers them to those of a model that is used beside it.
void lower_positions(TrainOptions& options, const TrainOptions& other);

/// The longest source of a translation.
int64_t longest_source(const TrainOptions& options);

}  // namespace evomoe
