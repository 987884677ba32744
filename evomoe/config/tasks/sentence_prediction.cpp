// sentence_prediction: a class, or a number, is predicted from a sentence or a pair of them.
#include "evomoe/config/option_table.h"
#include "evomoe/config/task_declaration.h"

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

TaskDeclaration sentence_prediction_task() {
  return {.name = "sentence_prediction",
          .family = "roberta",
          .criterions = {"sentence_prediction"},
          .describe = [](OptionTable& table, TaskOptions& o) {
            o.SentencePredictionOptions::describe(table);
          }};
}

}  // namespace evomoe
