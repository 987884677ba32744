// manifest.json of a checkpoint's folder. Its checksum is put right, else nothing behind it would
// ever be reached.
#include <fmt/format.h>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/checkpoint/checkpoint_manager.h"
#include "evomoe/checkpoint/xxhash64.h"
#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

namespace fs = std::filesystem;

void write_sound(const fs::path& folder) {
  Checkpoint checkpoint;
  checkpoint.state.updates = 3;
  checkpoint.state.saved = SaveRecord();
  checkpoint.state.saved->best_metric = "loss";
  checkpoint.state.saved->best = 1.5;
  checkpoint.model["a"] = torch::arange(4);
  write_checkpoint(folder / "x", checkpoint);
}

std::vector<std::string> manifest_seeds(const fs::path& folder) {
  write_sound(folder);
  const auto text = testing::read_text(manifest_path(folder / "x"));
  return {text.substr(text.find('\n') + 1)};
}

void read_checkpoint_of(const fs::path& folder, const std::string& bytes) {
  const auto path = folder / "x";
  if (!fs::exists(path)) write_sound(folder);
  testing::write_text(
      manifest_path(path),
      fmt::format("{{\"xxh64_of_the_lines_below\": \"{:016x}\",\n", xxhash64(bytes)) + bytes);
  CheckpointManager(folder, {.no_save = true}).restore(read_state(path));
  load_checkpoint(path);
}

const Registration registration("manifest", {manifest_seeds, read_checkpoint_of});

}  // namespace
}  // namespace evomoe::fuzz
