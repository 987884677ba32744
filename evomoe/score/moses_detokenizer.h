#pragma once

#include <string>
#include <string_view>

namespace evomoe {

/// Joins what Moses' tokenizer split: `it &apos;s a 5 @-@ fold .` is the text `it's a 5-fold.`. The
/// rules are those of Moses' detokenizer.perl as sacremoses has them: the common ones, and those of
/// en, fr, it and ga. Text that is its own result already stays.
class MosesDetokenizer {
 public:
  /// UsageError for cs and fi, whose rules are not there.
  explicit MosesDetokenizer(std::string language);

  std::string operator()(std::string_view line) const;

 private:
  std::string language_;
};

}  // namespace evomoe
