#pragma once

#include <optional>
#include <string>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/safetensors.h"
#include "evomoe/fairseq/fairseq_optimizer.h"
#include "evomoe/fairseq/pickle_value.h"

namespace evomoe {

/// A part of a model of fairseq, with fairseq's names, and the optimizer's state of its parameters,
/// with the names that Optimizer::state_dict() gives it.
struct FairseqPart {
  std::string file;  ///< what errors call it
  TensorMap model;
  TensorMap optimizer;
};

/// Reads the weights of a file of whole tensors: of a whole model (`whole`) or of a part of it.
FairseqPart read_fairseq_part(const PickleValue& root, const std::string& file, bool whole);

/// Gives the state in `file` to the parameters of `parts`, together those of a process's model:
/// each to one, or a flat one, of all, cut in their order. A parameter without a state has step 0.
/// Where the state does not fit, an Error tells what was expected.
void give_optimizer(const FairseqOptimizer& optimizer, const std::string& file,
                    const std::vector<FairseqPart*>& parts);

/// `tensor` comes again under a second name: it is an embedding of `earlier`, or a copy of it (a
/// GPU's tensors are copied one by one when they are saved) that the options of the file `root` do
/// not call a parameter of its own.
bool is_tied(const std::string& name, const torch::Tensor& tensor, const TensorMap& earlier,
             const PickleValue& root);

/// The same type, shape and values.
bool is_same(const torch::Tensor& a, const torch::Tensor& b);

/// Error for a mixture of experts whose file holds none.
[[noreturn]] void fail_experts_lost(const std::string& file);

// --- entries, with errors that name the file ---

const PickleValue& entry(const PickleValue& value, const std::string& key, const std::string& file);

/// Error: `value`, which is called `what`, is none of what `expected` says.
[[noreturn]] void fail_kind(const PickleValue& value, const std::string& what,
                            const std::string& expected, const std::string& file);

template <typename T>
const T& as(const PickleValue& value, const std::string& what, const std::string& file) {
  const auto* found = value.get_if<T>();
  if (found == nullptr) {
    PickleValue example;
    example.value = T();
    fail_kind(value, what, kind_of(example), file);
  }
  return *found;
}

/// An entry of a dict.
template <typename T>
const T& entry_as(const PickleValue& value, const std::string& key, const std::string& file) {
  return as<T>(entry(value, key, file), key, file);
}

int64_t integer_or(const PickleValue* value, int64_t otherwise);

/// An entry of the dict `value`, which is called `what`, that may be missing or None.
template <typename T>
T entry_or(const PickleValue& value, const std::string& what, const std::string& key, T otherwise,
           const std::string& file) {
  as<PickleValue::Dict>(value, what, file);
  const auto* found = value.find(key);
  if (found == nullptr || found->get_if<std::monostate>() != nullptr) return otherwise;
  return as<T>(*found, key, file);
}

/// As number_of; nothing for None, and anything else is an Error.
std::optional<double> as_number(const PickleValue& value, const std::string& what,
                                const std::string& file);

}  // namespace evomoe
