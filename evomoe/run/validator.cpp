#include "evomoe/run/validator.h"

#include <utility>

#include "evomoe/train/task.h"
#include "evomoe/train/training_metrics.h"

namespace evomoe {

Validator::Validator(const TrainOptions& options, EpochIteratorOptions batches,
                     const Dictionary& target, const ByteBpe* bpe)
    : options_(options),
      batches_(std::move(batches)),
      criterion_(options.criterion, Dictionary::kPad, options.task.classification_head_name) {
  if (options_.task.bleu.eval_bleu) bleu_.emplace(options_, target, bpe);
}

void Validator::check_bleu_lengths(const std::shared_ptr<const Dataset>& dataset) const {
  if (bleu_) bleu_->check_lengths(dataset, batches_);
}

std::optional<Validation> Validator::run(const ValidationPass& pass,
                                         const std::shared_ptr<const Dataset>& dataset,
                                         const ValidatedModel& model, Communicator& communicator,
                                         ComputeThreads* threads,
                                         const std::function<bool()>& stop) {
  // Hypotheses are made with the routing of the reference.
  const bool translate = bleu_ && !pass.as_trained;
  if (translate) bleu_->reset();
  const auto evaluate = [&](const Batch& batch) {
    if (threads != nullptr) threads->begin();
    if (translate && !batch.stands_in) bleu_->add(model.model, batch, model.updates);
    auto sums = evaluate_batch(model.model, criterion_, options_, batch, model.device,
                               pass.as_trained, model.updates);
    if (threads != nullptr) threads->end(static_cast<double>(batch.tokens));
    return sums;
  };
  Validation found;
  auto sums = evaluate_dataset(dataset, batches_, options_.criterion, evaluate, found.meters,
                               communicator, stop);
  if (!sums) return std::nullopt;
  found.sums = std::move(*sums);
  if (translate) log_bleu(found.meters, bleu_->score(communicator));
  found.line =
      validation_line(found.meters, found.sums, options_.criterion, model.updates, model.epoch);
  find_task(options_.task.task).add_metrics(found.line, found.sums);
  return found;
}

}  // namespace evomoe
