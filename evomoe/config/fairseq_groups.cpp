#include "evomoe/config/fairseq_groups.h"

#include <map>
#include <set>

namespace evomoe {
namespace {

/// fairseq's groups, and those of ours whose options they hold beside their namesake.
const std::map<std::string, std::set<std::string>>& groups() {
  static const std::set<std::string> model = {"moe", "evolution", "task"};
  static const std::map<std::string, std::set<std::string>> all = {
      {"task", {"", "model", "dataset"}},
      {"model", model},
      {"criterion", {"task"}},
      {"optimizer", {"optimization"}},
      {"lr_scheduler", {"optimization"}},
      {"optimization", {"evolution", "criterion"}},
      {"dataset", {}},
      {"checkpoint", {}},
      {"common", {"resources"}},
      {"common_eval", {"common", ""}},
      {"distributed_training", {}},
      {"generation", {}},
      {"interactive", {}},
      {"eval_lm", {}},
      {"bpe", {}},
      {"tokenizer", {}},
      {"scoring", {}},
      {"bmuf", {}},
      {"ema", {}},
      {"simul_type", {}},
  };
  return all;
}

}  // namespace

bool is_fairseq_group(const std::string& name) { return groups().contains(name); }

bool fairseq_group_holds(const std::string& theirs, const std::string& ours) {
  const auto found = groups().find(theirs);
  return found != groups().end() && (theirs == ours || found->second.contains(ours));
}

std::string chosen_option(const std::string& group) {
  static const std::map<std::string, std::string> options = {
      {"task", "task"},           {"model", "arch"},
      {"criterion", "criterion"}, {"optimizer", "optimizer"},
      {"bpe", "bpe"},             {"lr_scheduler", "lr-scheduler"}};
  const auto found = options.find(group);
  return found == options.end() ? "" : found->second;
}

std::string chosen_value(const std::string& group, const std::string& name) {
  const auto slash = name.find('/');
  if (group != "model" || slash == std::string::npos) return name;
  const auto family = name.substr(0, slash), member = name.substr(slash + 1);
  return member.starts_with(family) ? member : family + "_" + member;
}

}  // namespace evomoe
