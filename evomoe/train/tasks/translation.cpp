// translation: a sentence is predicted from one of another language.
#include "evomoe/config/option_table.h"
#include "evomoe/data/language_pair_data.h"
#include "evomoe/train/task.h"

namespace evomoe {

void TranslationOptions::describe(OptionTable& table) {
  table.add("source-lang", &source_lang, "Source language; not given: from the files' names.")
      .alias("s")
      .metavar("LANG");
  table.add("target-lang", &target_lang, "Target language; not given: from the files' names.")
      .alias("t")
      .metavar("LANG");
  table.add("left-pad-source", &left_pad_source, "Pads sources on the left.");
  table.add("left-pad-target", &left_pad_target, "Pads targets on the left.");
  table.add("truncate-source", &truncate_source, "Cuts sources to max-source-positions.");
  table
      .add("upsample-primary", &upsample_primary,
           "How often train is read for each reading of train1, train2, ...; -1: once.")
      .synonyms({{"-1", "1"}})
      .at_least(1);
  bleu.describe(table);
}

namespace {

class Translation : public Task {
 public:
  Translation() : Task({.name = "translation", .family = "encoder_decoder"}) {}

  void describe(OptionTable& table, TaskOptions& options) const override {
    options.TranslationOptions::describe(table);
  }

  std::unique_ptr<TaskData> open_data(const std::string& data,
                                      TrainOptions& options) const override {
    auto& task = options.task;
    LanguagePairDataOptions pair;
    pair.source_lang = task.source_lang;
    pair.target_lang = task.target_lang;
    pair.upsample_primary = task.upsample_primary;
    pair.pairs.left_pad_source = task.left_pad_source;
    pair.pairs.left_pad_target = task.left_pad_target;
    pair.pairs.truncate_source = task.truncate_source;
    pair.pairs.max_source_positions = longest_source(options);
    pair.pairs.max_target_positions = longest_item(options);
    auto opened = std::make_unique<LanguagePairData>(data, pair);
    task.source_lang = opened->source_lang();
    task.target_lang = opened->target_lang();
    return opened;
  }

  void validate(const TrainOptions& options) const override {
    validate_bleu(options.task.bleu, options.moe.validate_routing);
  }

  std::vector<std::string> dictionary_names(const TaskOptions& options) const override {
    return {"dict." + options.source_lang.value_or("source") + ".txt",
            "dict." + options.target_lang.value_or("target") + ".txt"};
  }

  std::vector<std::string> batch_options() const override {
    return {"source-lang", "target-lang", "truncate-source", "upsample-primary"};
  }
  std::vector<std::string> scoring_options() const override {
    return {"source-lang", "target-lang", "truncate-source"};
  }

  TextRules text_rules(const TaskOptions&) const override {
    return {.translates = true, .answers = true};
  }
};

}  // namespace

std::unique_ptr<Task> make_translation() { return std::make_unique<Translation>(); }

}  // namespace evomoe
