// sentence_prediction: a class, or a number, is predicted from a sentence or a pair of them.
#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/data/masked_language_model_data.h"
#include "evomoe/data/sentence_prediction_data.h"
#include "evomoe/train/task.h"

namespace evomoe {

void SentencePredictionOptions::describe(OptionTable& table) {
  table
      .add("num-classes", &num_classes,
           "Number of classes; must be given, 1 with --regression-target.")
      .at_least(-1);
  table.add("init-token", &init_token, "Index of the token before a row; not given: none.")
      .at_least(0);
  table
      .add("separator-token", &separator_token,
           "Index of the token between its sentences; not given: none.")
      .at_least(0);
  table.add("classification-head-name", &classification_head_name, "Name of the head.")
      .metavar("NAME");
  table.add("no-shuffle", &no_shuffle, "Rows keep their order.");
  table
      .add("shorten-method", &shorten_method,
           "What happens to longer sequences: nothing, they are cut, or a random part is taken.")
      .choices({"none", "truncate", "random_crop"});
}

namespace {

class SentencePrediction : public Task {
 public:
  SentencePrediction()
      : Task({.name = "sentence_prediction",
              .family = "roberta",
              .criterions = {"sentence_prediction"}}) {}

  void describe(OptionTable& table, TaskOptions& options) const override {
    options.SentencePredictionOptions::describe(table);
  }

  std::unique_ptr<TaskData> open_data(const std::string& data,
                                      TrainOptions& options) const override {
    const auto& task = options.task;
    SentencePredictionDataOptions sentences;
    sentences.num_classes = task.num_classes;
    sentences.regression = options.criterion.regression_target;
    sentences.rows = {.init_token = task.init_token,
                      .separator_token = task.separator_token,
                      .shuffle = !task.no_shuffle,
                      .shorten = parse_shorten_method(task.shorten_method),
                      .max_positions = longest_item(options),
                      .seed = options.common.seed};
    return std::make_unique<SentencePredictionData>(data, sentences);
  }

  void validate(const TrainOptions& options) const override {
    const auto classes = options.task.num_classes;
    if (options.criterion.regression_target && classes != 1) {
      fail_usage(
          "--regression-target predicts one number of each row, and --num-classes is {}; give "
          "--num-classes 1",
          classes);
    }
    if (classes < 1) {
      fail_usage("--task sentence_prediction needs --num-classes: the number of classes, e.g. 2");
    }
  }

  std::filesystem::path dictionary_folder(const std::filesystem::path& data) const override {
    return data / "input0";
  }

  Dictionary load_dictionary(const std::filesystem::path& folder,
                             const std::string&) const override {
    return load_masked_dictionary(folder);
  }

  std::vector<ClassificationHeadOptions> heads(const TrainOptions& options) const override {
    ClassificationHeadOptions head;
    head.name = options.task.classification_head_name;
    head.classes = options.task.num_classes;
    head.activation = options.model.pooler_activation_fn.value_or(head.activation);
    head.dropout = options.model.pooler_dropout.value_or(head.dropout);
    return {head};
  }

  std::vector<std::string> batch_options() const override { return {"shorten-method"}; }
};

}  // namespace

std::unique_ptr<Task> make_sentence_prediction() { return std::make_unique<SentencePrediction>(); }

}  // namespace evomoe
