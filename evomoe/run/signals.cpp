#include "evomoe/run/signals.h"

#include <csignal>

namespace evomoe {
namespace {

volatile std::sig_atomic_t g_received = 0;

void note(int signal) {
  g_received = signal;
  std::signal(signal, SIG_DFL);
}

}  // namespace

SignalWatch::SignalWatch() {
  g_received = 0;
  std::signal(SIGINT, note);
  std::signal(SIGTERM, note);
}

SignalWatch::~SignalWatch() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

int SignalWatch::received() { return g_received; }

}  // namespace evomoe
