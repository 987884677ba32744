#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace evomoe {

/// How fast a rank's messages are.
struct Link {
  double bandwidth = 0;  ///< bytes a second that a rank sends while all others send too
  double latency = 0;    ///< seconds that an operation takes beside its bytes
};

/// What a plan knows of the machines that would run it; of one rank.
struct Machine {
  std::string name, about;
  int64_t ranks_per_node = 1;
  double flops = 0;             ///< floating-point operations a second, in large matrix products
  double memory = 0;            ///< bytes
  double memory_bandwidth = 0;  ///< bytes a second
  /// The share of the messages' time that can be hidden behind computing: 1 where adapters move
  /// them, 0 where the cores that compute do.
  double overlap = 1;
  Link inside;   ///< between ranks of a node
  Link between;  ///< between nodes
};

/// The machine of this name among those that the program knows, or of a YAML file, which has the
/// same keys as evomoe/plan/machines.yaml has for each. UsageError: there is none, a key that is
/// missing or unknown, a value that is not above 0, each with its name.
Machine find_machine(const std::string& name_or_file);

/// Of those that the program knows.
std::vector<std::string> machine_names();

/// The YAML file of a machine.
std::string to_yaml(const Machine& machine);

}  // namespace evomoe
