#include "evomoe/config/architecture_task.h"

namespace evomoe {

std::string task_of_architecture(const std::string& arch) {
  if (arch.starts_with("transformer_lm")) return "language_modeling";
  if (arch.starts_with("roberta") || arch == "xlm") return "masked_lm";
  return "translation";
}

}  // namespace evomoe
