#include "evomoe/config/hydra_groups.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "evomoe/base/nearest_name.h"

namespace evomoe {
namespace {

const std::map<std::string, std::set<std::string>>& groups() {
  static const std::map<std::string, std::set<std::string>> ours = {
      {"common", {"common", "resources"}},
      {"common_eval", {"", "common"}},
      {"task", {"task", "model", "criterion", ""}},
      {"model", {"model", "moe"}},
      {"criterion", {"criterion", "task"}},
      {"optimizer", {"optimization"}},
      {"lr_scheduler", {"optimization"}},
      {"bpe", {""}},
      {"tokenizer", {""}},
      {"scoring", {""}},
      {"bmuf", {}},
      {"dataset", {"dataset", ""}},
      {"optimization", {"optimization", "evolution", "criterion"}},
      {"distributed_training", {"common"}},
      {"checkpoint", {"checkpoint"}},
      {"generation", {""}},
      {"eval_lm", {""}},
      {"interactive", {""}},
  };
  return ours;
}

}  // namespace

bool is_hydra_group(const std::string& group) { return groups().count(group) > 0; }

bool hydra_group_admits(const std::string& group, const std::string& ours) {
  const auto found = groups().find(group);
  return found != groups().end() && found->second.count(ours) > 0;
}

std::string option_named_by(const std::string& group) {
  if (group == "model") return "arch";
  static const std::set<std::string> named = {"task", "criterion", "optimizer", "bpe"};
  if (group == "lr_scheduler") return "lr-scheduler";
  return named.count(group) > 0 ? group : "";
}

std::string group_choice(const std::string& group, const std::string& name) {
  std::string choice = name;
  if (group != "model") return choice;
  const size_t slash = choice.find('/');
  if (slash == std::string::npos) return choice;
  const std::string family = choice.substr(0, slash), file = choice.substr(slash + 1);
  // transformer_lm/transformer_lm_gpt
  if (file.compare(0, family.size(), family) == 0) return file;
  std::replace(choice.begin(), choice.end(), '/', '_');
  return choice;
}

std::string no_such_group(const std::vector<OptionTable::Group>& groups, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& group : groups) {
    if (!group.name.empty()) names.push_back(group.name);
  }
  const auto nearest = nearest_name(name, names);
  return fmt::format("there is no group '{}'{}; {}", name,
                     nearest.empty() ? "" : fmt::format(" (did you mean '{}'?)", nearest),
                     names.empty() ? "this command's options are in none"
                                   : fmt::format("the groups are {}", fmt::join(names, ", ")));
}

}  // namespace evomoe
