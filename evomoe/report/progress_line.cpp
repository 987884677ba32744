#include "evomoe/report/progress_line.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "evomoe/base/text_layout.h"

namespace evomoe {
namespace {

constexpr int kUsualWidth = 80, kMostWidth = 100;

int terminal_width(std::FILE* stream) {
  winsize size{};
  if (ioctl(fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualWidth;
  return size.ws_col;
}

std::string speed_text(double tokens_per_second) {
  if (tokens_per_second >= 1e6) return fmt::format("{:.2f}M tok/s", tokens_per_second / 1e6);
  if (tokens_per_second >= 1e4) return fmt::format("{:.1f}k tok/s", tokens_per_second / 1e3);
  return fmt::format("{:.0f} tok/s", tokens_per_second);
}

struct Piece {
  std::string text;
  int importance;  // the lowest goes first when the terminal is narrow
};

std::string join(const std::vector<Piece>& pieces) {
  std::string text;
  for (const auto& piece : pieces) text += (text.empty() ? "" : " | ") + piece.text;
  return text;
}

}  // namespace

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  const int64_t days = whole / 86400, hours = whole / 3600 % 24, minutes = whole / 60 % 60;
  if (days > 0) return fmt::format("{} d {:02d}:{:02d}", days, hours, minutes);
  if (hours > 0) return fmt::format("{}:{:02d}:{:02d}", hours, minutes, whole % 60);
  return fmt::format("{}:{:02d}", minutes, whole % 60);
}

std::string progress_text(const Progress& progress, int width) {
  std::vector<Piece> pieces;
  const std::string name = "update";
  std::string place = fmt::format(" {}", progress.update);
  if (progress.last_update > 0) place += fmt::format("/{}", progress.last_update);
  pieces.push_back({(progress.label.empty() ? name : progress.label) + place, 9});
  if (!progress.stage.empty()) pieces.push_back({progress.stage, 5});
  pieces.push_back({fmt::format("loss {:.2f} bits", progress.loss), 8});
  pieces.push_back({speed_text(progress.tokens_per_second), 4});
  if (progress.temperature) pieces.push_back({fmt::format("τ {:.2f}", *progress.temperature), 3});
  if (progress.active_experts_per_token) {
    pieces.push_back({fmt::format("{:.2f} experts", *progress.active_experts_per_token), 6});
  }
  const auto done = static_cast<double>(progress.update - progress.first_update);
  if (progress.last_update > 0 && done > 0) {
    const auto left =
        static_cast<double>(std::max<int64_t>(0, progress.last_update - progress.update));
    pieces.push_back({"ETA " + duration_text(progress.elapsed_seconds / done * left), 7});
  }
  width = std::min(width, kMostWidth);
  const auto most = static_cast<size_t>(std::max(width, 0));
  const auto is_wide = [&] { return terminal_columns(join(pieces)) > most; };
  if (is_wide() && progress.label.size() > name.size())
    pieces.front().text = name + place;  // a long name tells less than what would be left out
  while (pieces.size() > 1 && is_wide()) {
    pieces.erase(std::min_element(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) {
      return a.importance < b.importance;
    }));
  }
  return join(pieces);
}

ProgressLine::ProgressLine(bool enabled, std::FILE* stream)
    : stream_(stream), live_(enabled && isatty(fileno(stream)) != 0) {}

ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::show(const Progress& progress) {
  if (!live_) return;
  // One column stays free: a full line would wrap on some terminals.
  fmt::print(stream_, "\r\x1b[K{}", progress_text(progress, terminal_width(stream_) - 1));
  std::fflush(stream_);
  shown_ = true;
}

void ProgressLine::clear() {
  if (!shown_) return;
  fmt::print(stream_, "\r\x1b[K");
  std::fflush(stream_);
  shown_ = false;
}

}  // namespace evomoe
