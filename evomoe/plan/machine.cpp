#include "evomoe/plan/machine.h"

#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/base/nearest_name.h"
#include "evomoe/plan/embedded_files.h"

namespace evomoe {
namespace {

/// Reads the keys of a map, each of them once.
class MachineReader {
 public:
  MachineReader(const YAML::Node& node, std::string where) : node_(node), where_(std::move(where)) {
    if (!node_.IsMap()) fail_usage("{}: a machine is a map of keys and values", where_);
  }

  template <typename T>
  T get(const std::string& key) {
    known_.insert(key);
    const auto value = node_[key];
    if (!value.IsDefined()) fail_usage("{}: the key '{}' is missing", where_, key);
    try {
      return value.as<T>();
    } catch (const YAML::Exception&) {
      fail_usage("{}: the value of '{}' is of another type than is needed", where_, key);
    }
  }

  double positive(const std::string& key) {
    const auto value = get<double>(key);
    if (!(value > 0) || !std::isfinite(value))
      fail_usage("{}: '{}' is {}; it must be a number above 0", where_, key, value);
    return value;
  }

  /// 0 to 1; 1 where the key is missing.
  double share(const std::string& key) {
    known_.insert(key);
    if (!node_[key].IsDefined()) return 1;
    const auto value = get<double>(key);
    if (!(value >= 0 && value <= 1))
      fail_usage("{}: '{}' is {}; it must be a share, 0 to 1", where_, key, value);
    return value;
  }

  Link link(const std::string& key) {
    known_.insert(key);
    if (!node_[key].IsDefined()) fail_usage("{}: the key '{}' is missing", where_, key);
    MachineReader reader(node_[key], where_ + ", " + key);
    Link link{reader.positive("bandwidth"), reader.positive("latency")};
    reader.finish();
    return link;
  }

  void finish() const {
    for (const auto& entry : node_) {
      const auto key = entry.first.as<std::string>();
      if (!known_.contains(key))
        fail_usage("{}: '{}' means nothing; the keys are {}", where_, key, fmt::join(known_, ", "));
    }
  }

 private:
  YAML::Node node_;
  std::string where_;
  std::set<std::string> known_;
};

Machine machine_of(const YAML::Node& node, const std::string& name, const std::string& where) {
  MachineReader reader(node, where);
  Machine machine;
  machine.name = name;
  machine.about = reader.get<std::string>("about");
  machine.ranks_per_node = reader.get<int64_t>("ranks_per_node");
  if (machine.ranks_per_node < 1)
    fail_usage("{}: 'ranks_per_node' is {}; it must be 1 or more", where, machine.ranks_per_node);
  machine.flops = reader.positive("flops");
  machine.memory = reader.positive("memory");
  machine.memory_bandwidth = reader.positive("memory_bandwidth");
  machine.overlap = reader.share("overlap");
  machine.inside = reader.link("inside");
  machine.between = reader.link("between");
  reader.finish();
  return machine;
}

YAML::Node known_machines() { return YAML::Load(std::string(machines_yaml())); }

}  // namespace

Machine find_machine(const std::string& name_or_file) {
  const auto known = known_machines();
  if (known[name_or_file].IsDefined())
    return machine_of(known[name_or_file], name_or_file, name_or_file);
  if (!std::filesystem::exists(name_or_file)) {
    const auto nearest = nearest_name(name_or_file, machine_names());
    fail_usage("--machine {}: there is no file of this name, and no machine{}; those known are {}",
               name_or_file, nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest),
               fmt::join(machine_names(), ", "));
  }
  YAML::Node node;
  try {
    node = YAML::LoadFile(name_or_file);
  } catch (const YAML::Exception& error) {
    fail_usage("--machine {}: it is no YAML file: {}", name_or_file, error.what());
  }
  return machine_of(node, std::filesystem::path(name_or_file).stem().string(), name_or_file);
}

std::vector<std::string> machine_names() {
  std::vector<std::string> names;
  const auto known = known_machines();
  for (const auto& entry : known) names.push_back(entry.first.as<std::string>());
  return names;
}

std::string to_yaml(const Machine& machine) {
  const auto link = [](const Link& of) {
    return fmt::format("{{bandwidth: {:.3e}, latency: {:.3e}}}", of.bandwidth, of.latency);
  };
  return fmt::format(
      "about: \"{}\"\nranks_per_node: {}\nflops: {:.3e}\nmemory: {:.3e}\nmemory_bandwidth: "
      "{:.3e}\noverlap: {}\ninside: {}\nbetween: {}\n",
      machine.about, machine.ranks_per_node, machine.flops, machine.memory,
      machine.memory_bandwidth, machine.overlap, link(machine.inside), link(machine.between));
}

}  // namespace evomoe
