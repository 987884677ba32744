#pragma once

namespace evomoe {

/// While it lives, SIGINT and SIGTERM are noted instead of ending the process; a second one ends it
/// at once.
class SignalWatch {
 public:
  SignalWatch();
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  /// The signal that arrived, or 0.
  static int received();
};

}  // namespace evomoe
