#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace evomoe {

/// Chooses how many threads compute, by measurement, while the work goes on.
///
/// A parallel region ends when its slowest thread does. On a core that another program uses as
/// well, that thread is late in each of thousands of small regions, and fewer threads are faster.
/// So: while this process gets the cores that it asks for, nothing is tried and nothing changes.
/// When its threads wait for a core, fewer of them are tried beside the present number, in turns;
/// when cores have become idle again, more. The faster number stays. Trials that change nothing, or
/// change the number often, are made more and more rarely.
class ThreadChoice {
 public:
  /// What it asks and tells the machine; times in seconds.
  struct Machine {
    std::function<double()> now;
    std::function<std::optional<double>()> waited;  ///< seconds_waited_for_a_core()
    std::function<std::optional<double>()> idle;    ///< seconds_cores_were_idle()
    std::function<void(int)> use;                   ///< sets the number of threads
  };

  /// What a trial decided.
  struct Change {
    int threads = 0, before = 0;
    double ratio = 0;  ///< speed of the new number in that of the old one
  };

  /// Begins with `threads`, the most that it chooses.
  ThreadChoice(int threads, Machine machine);

  /// Around each piece of work (an update, a batch). `work` is in any unit that time is
  /// proportional to. Returns the change when this piece was the last of a trial that led to one.
  void begin();
  std::optional<Change> end(double work);

  /// Before work that is not measured: a trial under way is given up.
  void stop_trial();

  int threads() const { return threads_; }

 private:
  /// What was done in how much time.
  struct Measured {
    double work = 0, seconds = 0;

    double speed() const { return work / seconds; }
  };

  void look_at_the_machine();
  std::optional<Change> next_turn();
  std::optional<Change> decide();
  void start_trial(std::vector<int> candidates);
  size_t candidate() const { return candidates_.size() - 1 - turn_ % candidates_.size(); }
  void use(int threads);

  int most_;
  int threads_;  ///< chosen; in a trial another number may be in use
  Machine machine_;
  double piece_began_ = 0;
  Measured window_;
  double window_began_ = 0;
  std::optional<double> waited_before_, idle_before_;  ///< when the window began

  std::vector<int> candidates_;   ///< of the trial, the present number first; empty: no trial
  std::vector<Measured> totals_;  ///< of the candidates
  size_t turn_ = 0;
  bool first_piece_ = false;  ///< of a turn: with the start of threads, so it does not count
  double next_trial_ = 0, pause_ = 0;
  std::optional<double> last_change_;
};

}  // namespace evomoe
