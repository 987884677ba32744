#include "evomoe/base/nearest_name.h"

#include <algorithm>

namespace evomoe {
namespace {

/// Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours
/// cost 1.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), now(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        now[j] = std::min(now[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(now);
  }
  return last[b.size()];
}

}  // namespace

std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates) {
  std::string best;
  // Of a very short name one letter is already much.
  size_t best_distance =
      (name.size() <= 3 ? name.size() / 2 : std::max<size_t>(2, name.size() / 3)) + 1;
  for (const auto& candidate : candidates) {
    size_t distance = edit_distance(name, candidate);
    // A beginning of the full name is the likeliest slip (argparse would have accepted it).
    if (name.size() >= 3 && candidate.compare(0, name.size(), name) == 0)
      distance = std::min<size_t>(distance, 1);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace evomoe
