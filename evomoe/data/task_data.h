#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "evomoe/data/dataset.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {

/// The data of a task: the dictionaries and splits of a data-bin folder (or several, `a:b:c`, of
/// which each epoch of training uses one). Files are opened once and stay open; a token that the
/// dictionary does not have is an Error when its file is opened, not in the middle of the run.
class TaskData {
 public:
  virtual ~TaskData() = default;

  /// Of what the model reads.
  virtual const Dictionary& source_dictionary() const = 0;
  /// Of what it predicts; the same object where there is one language.
  virtual const Dictionary& target_dictionary() const { return source_dictionary(); }

  /// The training split of an epoch (from 1): path (epoch - 1) % n, with `train1`, `train2`, ...
  /// appended when they are there. Safe as EpochIterator::DatasetOfEpoch: the same object while
  /// the data does not change.
  virtual std::shared_ptr<const Dataset> train(int64_t epoch, const std::string& split) = 0;

  /// Another split, of the first path. `combine`: with split1, split2, ... appended. A missing one
  /// is an Error that lists what is there. `pad_to_batch_size`: collate makes at least so many
  /// rows; 0: as many as there are items.
  virtual std::shared_ptr<const Dataset> open(const std::string& split, bool combine,
                                              int64_t pad_to_batch_size) = 0;

  /// `valid1`, `valid2`, ... of the first path that are not among `used`: fairseq refuses to ignore
  /// them silently.
  virtual std::vector<std::string> unused_valid_splits(
      const std::vector<std::string>& used) const = 0;
};

}  // namespace evomoe
