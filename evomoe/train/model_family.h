#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/checkpoint/safetensors.h"
#include "evomoe/train/architecture.h"
#include "evomoe/train/memory_estimate.h"
#include "evomoe/train/model_options.h"

namespace evomoe {

/// Options with their values, as text.
using OptionValues = std::vector<std::pair<std::string, std::string>>;

/// What the options know of a family of models.
struct FamilyDeclaration {
  std::string name;   ///< "language_model"
  std::string words;  ///< as an error message names one of its models: "a language model"
  std::string task;   ///< the --task of its architectures where none is given
  bool encoder = false, decoder = false;  ///< the halves that its models have
  std::vector<Architecture> architectures;
};

/// The models of a family of architectures. Objects have no state; there is one for each family.
/// `shared_expert`: the MoE layers hold the one shared expert that they start with. A new one is
/// its file in train/families and its line in model_family.cpp.
class ModelFamily {
 public:
  explicit ModelFamily(FamilyDeclaration declaration);
  virtual ~ModelFamily() = default;

  const FamilyDeclaration& declaration() const { return declaration_; }
  /// Describes the options that its models alone have.
  virtual void describe(OptionTable& table, ModelOptions& options) const = 0;

  /// The encoder and the decoder, or the one of them that the models have.
  virtual std::vector<TransformerStackOptions> stacks(const TrainOptions& options,
                                                      const Vocabulary& vocabulary,
                                                      bool shared_expert) const = 0;
  virtual ModelPtr make(const TrainOptions& options, const Vocabulary& vocabulary,
                        bool shared_expert) const = 0;
  /// Refuses, as make() does and without making a model, what cannot be built.
  virtual void check(const TrainOptions& options) const = 0;
  virtual MemoryEstimate memory(const TrainOptions& options, const Vocabulary& vocabulary,
                                const LargestBatch& batch, const StateBytes& state) const = 0;

  /// The half whose width is the model's.
  virtual const HalfOptions& main_half(const ModelOptions& options) const = 0;
  /// The option that says how long an item may be, of a pair its target: its field, its name, and
  /// what it is where it is not given.
  virtual std::optional<int64_t>& positions(ModelOptions& options) const = 0;
  virtual std::string positions_option() const = 0;
  virtual int64_t default_positions(const TrainOptions& options) const = 0;

  /// Of the options that make the model those beside its stacks', with the values that they have
  /// after the architecture's defaults.
  virtual OptionValues values(const TrainOptions& options) const = 0;

  /// The tensors that fairseq's state dict has beside the parameters `model`: copies under other
  /// names, versions.
  virtual std::vector<std::pair<std::string, torch::Tensor>> fairseq_extras(
      const TensorMap& model) const = 0;

 private:
  FamilyDeclaration declaration_;
};

/// All families.
const std::vector<std::unique_ptr<const ModelFamily>>& families();

/// The family of this name; an Error when there is none.
const ModelFamily& find_family(const std::string& name);
/// That of --arch. UsageError when it does not go with --task.
const ModelFamily& family_of(const TrainOptions& options);

/// Looks up an architecture. Unknown names are a UsageError that lists the known ones.
const Architecture& find_architecture(const std::string& name);

/// The names of a family, or of all.
std::vector<std::string> architecture_names();
std::vector<std::string> architecture_names(const FamilyDeclaration& family);

/// The architecture, which must be one for the task: else a UsageError that lists those.
const Architecture& architecture_of(const TrainOptions& options);

// What the families' stacks have alike.

/// Of the options that make a decoder those of its DecoderForm and rotary positions, with the
/// values that it has.
OptionValues form_values(const TransformerStackOptions& stack);
/// Those of them that differ from the reference's decoders, as one gives them:
/// "--decoder-norm rms_norm".
std::vector<std::string> beyond_reference(const TransformerStackOptions& stack);

/// What encoder and decoder of every family take alike from the options.
void fill_stack(TransformerStackOptions& stack, const TrainOptions& options,
                const Architecture& architecture, int64_t padding_index, bool shared_expert);
/// What a decoder, or an encoder, takes from the options of its half.
void fill_decoder(TransformerStackOptions& stack, const TrainOptions& options,
                  const Architecture& architecture);
void fill_encoder(TransformerStackOptions& stack, const TrainOptions& options,
                  const Architecture& architecture);

}  // namespace evomoe
