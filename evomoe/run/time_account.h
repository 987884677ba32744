#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/report/time_summary.h"

namespace evomoe {

/// Shares out the time of updates among their parts. It is told of every scope that opens and
/// closes and of every autograd node that runs, with the time in nanoseconds. Only what happens
/// inside a scope "update" counts.
///
/// A scope's part is the path of the scopes around it. A node of the backward pass belongs to the
/// part whose forward pass made it: autograd numbers the nodes of a thread as they are made, so
/// that the numbers handed out while a part was open tell its nodes from all others. So it is with
/// nodes of a forward pass that is repeated within the backward pass.
class TimeAccount {
 public:
  using Path = std::vector<std::string>;

  /// The number that the thread's next autograd node gets.
  struct NodeNumber {
    uint64_t thread = 0;
    int64_t number = 0;
    auto operator<=>(const NodeNumber&) const = default;
  };

  void open(const std::string& scope, NodeNumber next, int64_t now);
  void close(NodeNumber next, int64_t now);

  /// A node of the backward pass begins; its time goes to the part around it until
  /// name_node() or name_accumulation() says more.
  void open_node(int64_t now);
  /// The node that runs was made as number `made`. Returns its part.
  const Path& name_node(NodeNumber made);
  /// The node that runs adds a gradient to that of a parameter.
  void name_accumulation();
  void close_node(int64_t now);

  /// Per update, over `updates` of them.
  TimeSummary summary(int64_t updates) const;

 private:
  struct Frame {
    size_t part;  ///< in parts_
    bool node;
    int64_t began;
    int64_t inside = 0;  ///< time of frames within
  };
  struct Cost {
    Path path;
    int64_t time = 0, calls = 0, nodes = 0;
  };

  void pop(int64_t now);
  size_t part(const Path& path);
  void give_numbers(NodeNumber next);

  std::vector<Frame> frames_;
  std::vector<Cost> parts_;  ///< in the order in which they were first opened
  std::map<Path, size_t> index_;
  /// Part of the nodes from this number on, up to the next entry of the thread.
  std::map<NodeNumber, size_t> maker_;
  std::map<uint64_t, int64_t> given_;  ///< by thread: numbers below this have their part
  int64_t total_ = 0;
};

}  // namespace evomoe
