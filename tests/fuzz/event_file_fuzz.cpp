// Event files for TensorBoard, as a run that goes on cuts them.
#include "evomoe/report/event_file.h"
#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> event_file_seeds(const fs::path& folder) {
  {
    EventFile file(folder, /*resume_update=*/0);
    for (const int64_t update : {10, 20}) {
      EventSummary summary;
      summary.scalar("loss", 9.5);
      summary.text("config", "lr: 1");
      file.write(update, summary);
    }
  }
  const auto text = testing::read_text(fs::directory_iterator(folder)->path());
  return {text, text + text.substr(0, 30)};
}

void read_event_file(const fs::path& folder, const std::string& bytes) {
  const auto path = folder / "events.out.tfevents.1.evomoe";
  testing::write_text(path, bytes);
  cut_event_files(folder, /*resume_update=*/10);
  const auto cut = testing::read_text(path);
  if (!bytes.starts_with(cut)) throw std::logic_error("bytes were changed");
  cut_event_files(folder, /*resume_update=*/10);
  if (testing::read_text(path) != cut) throw std::logic_error("the second time cuts more");
}

const Registration registration("event_file", {event_file_seeds, read_event_file});

}  // namespace
}  // namespace evomoe::fuzz
