#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "evomoe/data/task_data.h"
#include "evomoe/models/roberta.h"
#include "evomoe/report/log_line.h"
#include "evomoe/train/criterion.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// How `generate` and `interactive` use the models of a task.
struct TextRules {
  /// The model reads a text and writes another one; nothing is a prompt to it.
  bool translates = false;
  /// A language model: what it writes begins with the text that it reads.
  bool continues_source = false;
  /// A prompt is one text: an end of line in it is white space like any other, and no </s>.
  bool whole_prompts = false;
  /// It learned running text, so that it goes on after an </s>.
  bool running_text = false;
  /// Its data has answers, with which what stands behind the source is compared.
  bool answers = false;
};

/// What options know of a task before any data is read.
struct TaskDeclaration {
  std::string name;      ///< a value of --task
  std::string family;    ///< of its models (FamilyDeclaration)
  bool samples = false;  ///< its sequences have --tokens-per-sample
  bool blocks = false;   ///< they are cut from running text as --sample-break-mode says
  /// The criterions that go with this task and with no other; empty: those that predict each token
  /// of a target, which all such tasks share.
  std::vector<std::string> criterions = {};
};

/// What --task says: options, data, dictionaries, metrics, and how text is made. Objects have no
/// state; there is one for each task. A new one is its file in train/tasks and
/// its line in task.cpp.
class Task {
 public:
  explicit Task(TaskDeclaration declaration) : declaration_(std::move(declaration)) {}
  virtual ~Task() = default;

  const TaskDeclaration& declaration() const { return declaration_; }
  /// Describes its own options.
  virtual void describe(OptionTable& table, TaskOptions& options) const = 0;

  /// Opens the data in the folder `data` (or several, `a:b:c`). What the data tells better than the
  /// options (the languages of a pair) is written into them.
  virtual std::unique_ptr<TaskData> open_data(const std::string& data,
                                              TrainOptions& options) const = 0;
  /// A split as `generate` reads it; by default as training does.
  virtual std::shared_ptr<const Dataset> open_sources(TaskData& data,
                                                      const std::string& split) const;

  /// Refuses combinations of options before any data is touched: a UsageError with the options,
  /// their values and the remedy.
  virtual void validate(const TrainOptions& options) const {}
  /// Refuses options that go with no model of theirs: a UsageError.
  virtual void check(const TrainOptions& options) const {}

  /// The files of the dictionaries of source and target; one file where both are the same.
  virtual std::vector<std::string> dictionary_names(const TaskOptions& options) const;
  /// Where they lie in a data folder. In a run folder they lie at its top.
  virtual std::filesystem::path dictionary_folder(const std::filesystem::path& data) const;
  virtual Dictionary load_dictionary(const std::filesystem::path& folder,
                                     const std::string& name) const;

  /// The heads that its models have beside that of tokens.
  virtual std::vector<ClassificationHeadOptions> heads(const TrainOptions& options) const;

  /// Those of its options that decide which batches an epoch has, so that a run goes on within an
  /// epoch only with the same.
  virtual std::vector<std::string> batch_options() const { return {}; }
  /// Those that decide which tokens a validation predicts, and from which others.
  virtual std::vector<std::string> scoring_options() const { return {}; }

  /// The most tokens that are predicted of `tokens` in `rows` sequences, for the estimate of
  /// memory; 0: all.
  virtual int64_t most_predicted(const TaskOptions& options, int64_t tokens, int64_t rows) const;

  /// The options that let longer items into the data.
  virtual std::vector<std::string> length_options(const TrainOptions& options) const;

  /// What the log of a validation says beside the criterion's metrics.
  virtual void add_metrics(LogLine& line, const LossSums& sums) const {}

  virtual TextRules text_rules(const TaskOptions& options) const { return {}; }

  /// The task of fairseq that reads its checkpoints; empty: the one of the same name.
  virtual std::string fairseq_name() const { return ""; }

 private:
  TaskDeclaration declaration_;
};

/// All tasks, in the order of --help.
const std::vector<std::unique_ptr<const Task>>& tasks();

/// The task of this name; unknown names are a UsageError that lists the known ones.
const Task& find_task(const std::string& name);

/// The family of a task's models.
const FamilyDeclaration& family_of_task(const std::string& task);

std::vector<std::string> task_names();

/// The names of those tasks, in alphabetical order.
std::vector<std::string> tasks_where(const std::function<bool(const TaskDeclaration&)>& holds);
/// The tasks whose family is such a one.
std::vector<std::string> tasks_of_families(
    const std::function<bool(const FamilyDeclaration&)>& holds);
/// The tasks whose models have a decoder, or an encoder.
std::vector<std::string> decoder_tasks();
std::vector<std::string> encoder_tasks();
/// The tasks that have the criterion for themselves; none: it goes with all others.
std::vector<std::string> tasks_of_criterion(const std::string& criterion);

/// Task::open_data() of the options' task.
std::unique_ptr<TaskData> open_task_data(const std::string& data, TrainOptions& options);

/// The sizes of a task's dictionaries.
Vocabulary vocabulary_of(const TaskData& data);

}  // namespace evomoe
