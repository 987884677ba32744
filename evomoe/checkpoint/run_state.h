#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

/// What a checkpoint stores of a run beside its tensors, and the one way of it to and from JSON.
/// Nothing else knows the names of the manifest's sections and their values.
namespace evomoe {

/// The format version of a manifest. Raised when a section gets or loses a value that the program
/// cannot do without.
inline constexpr int kManifestVersion = 2;

/// Section "data": where the run goes on in its training data.
struct DataPosition {
  int64_t epoch = 1;   ///< from 1
  int64_t offset = 0;  ///< micro-batches of the epoch that are done
  int64_t items = 0;   ///< sequences in the epoch; 0 where no run goes on from it

  bool operator==(const DataPosition&) const = default;
};

/// Section "evolution": that of the next update.
struct EvolutionRecord {
  std::string stage;           ///< empty: none; older checkpoints say "constant"
  bool shared_expert = false;  ///< the MoE layers hold the one shared expert
  double temperature = -1.0;   ///< of the gate; <= 0: none
  bool hard = false;           ///< one expert per token
  /// Of an MoE layer now, where it grows (--growth-experts); 0: all, as in older checkpoints.
  int64_t experts = 0;

  bool operator==(const EvolutionRecord&) const = default;
};
void to_json(nlohmann::json& out, const EvolutionRecord& evolution);

struct DictionaryRecord {
  int64_t size = 0;      ///< symbols
  std::string checksum;  ///< XXH64 of the symbols in order

  bool operator==(const DictionaryRecord&) const = default;
};

/// Section "model": what the weights were made for and tensor shapes do not tell.
struct ModelRecord {
  DictionaryRecord target;  ///< of what the model predicts
  /// Of what it reads. Checkpoints of before translation do not have it: it is `target` there.
  std::optional<DictionaryRecord> source;
  int64_t padding = 0;  ///< index of the padding symbol

  bool operator==(const ModelRecord&) const = default;
};
void to_json(nlohmann::json& out, const ModelRecord& model);

/// Section "progress": what the whole run took so far, and the meters that go on.
struct ProgressRecord {
  double seconds = 0;                                ///< of training
  double flops = 0;                                  ///< executed floating-point operations
  double tokens = 0;                                 ///< trained on
  nlohmann::json meters = nlohmann::json::object();  ///< Metrics::state()

  bool operator==(const ProgressRecord&) const = default;
};

/// Section "patience": that of --patience.
struct PatienceRecord {
  int64_t used = 0;            ///< validations since the best one
  std::optional<double> best;  ///< its metric
  /// Which metric that is. Older checkpoints and those of fairseq do not say it.
  std::optional<std::string> metric;

  bool operator==(const PatienceRecord&) const = default;
};

/// Section "checkpoint", the CheckpointManager's: when this one was written, and the best so far.
struct SaveRecord {
  struct Moment {
    int64_t epoch = 1;
    int64_t updates = 0;
    bool end_of_epoch = false;

    bool operator==(const Moment&) const = default;
  };
  std::optional<Moment> moment;  ///< fairseq's do not say it
  std::string best_metric;       ///< --best-checkpoint-metric
  bool maximize_best = false;    ///< --maximize-best-checkpoint-metric
  std::optional<double> metric;  ///< its value of this checkpoint, where it was validated
  std::optional<double> best;    ///< the best value so far

  bool operator==(const SaveRecord&) const = default;
};
void to_json(nlohmann::json& out, const SaveRecord& saved);

/// The state of a run, a manifest's sections.
struct RunState {
  /// Section "config": the options, OptionTable::to_json().
  nlohmann::json config = nlohmann::json::object();
  int64_t updates = 0;  ///< completed ones; section "counters"
  DataPosition data;
  EvolutionRecord evolution;
  ModelRecord model;
  ProgressRecord progress;
  PatienceRecord patience;
  std::optional<SaveRecord> saved;  ///< the CheckpointManager's to write

  bool operator==(const RunState&) const = default;
};

/// The sections of a manifest.
nlohmann::json to_sections(const RunState& state);

/// The state that they hold; unknown sections are left out. Throws nlohmann::json::exception when a
/// section or value is missing or has another type: load_checkpoint() names the path.
RunState from_sections(const nlohmann::json& sections);

}  // namespace evomoe
