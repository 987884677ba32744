#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "evomoe/report/event_summary.h"

namespace evomoe {

/// CRC-32C (Castagnoli) of bytes.
uint32_t crc32c(std::string_view bytes);

/// A file of events that TensorBoard reads, events.out.tfevents.TIME.HOST.PROCESS.evomoe: TFRecords
/// (a length, data, and checksums of both) that each hold an `Event` message. Each event reaches
/// the file at once.
class EventFile {
 public:
  /// Begins a file in `folder` that goes on after `resume_update` updates: a TensorBoard that is
  /// running forgets what it has read of later ones. Error when it cannot be written.
  EventFile(const std::filesystem::path& folder, int64_t resume_update);
  ~EventFile();
  EventFile(EventFile&& other) noexcept;
  EventFile& operator=(EventFile&&) = delete;

  void write(int64_t update, const EventSummary& summary);

 private:
  void write_event(int64_t update, const std::string& rest);

  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// Cuts off what our event files in `folder` hold of later updates than `resume_update`, and a last
/// record that a crash left incomplete, so that a run that goes on from there adds each point once.
/// Error, with path and place: a record that is damaged.
void cut_event_files(const std::filesystem::path& folder, int64_t resume_update);

/// Gives our event files in `folder` names that TensorBoard does not read, events.1, events.2, ...;
/// returns how many.
size_t move_event_files_aside(const std::filesystem::path& folder);

/// Whether `folder` holds event files of another program.
bool has_foreign_event_files(const std::filesystem::path& folder);

}  // namespace evomoe
