#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evomoe/checkpoint/run_state.h"
#include "evomoe/checkpoint/safetensors.h"
#include "evomoe/checkpoint/tensor_piece.h"
#include "evomoe/parallel/communicator.h"

namespace evomoe {

/// Everything that a run needs to go on.
struct Checkpoint {
  RunState state;  ///< a NaN or Inf in it is written as null
  TensorMap model;
  TensorMap optimizer;  ///< empty: none is written
  /// Of the tensors of both that are parts, what they are parts of. Empty in one that was loaded.
  TensorPieces pieces;
};

/// A checkpoint is a folder of model.safetensors, optimizer.safetensors (optional) and
/// manifest.json. The manifest holds the state's sections, the format version and the size and
/// checksum of both other files, and begins with a checksum over itself.
///
/// Writes it under a temporary name in the same folder, brings it to the disk and renames it, in
/// the place of whatever has the name now: at each moment the old or the new one can be loaded. On
/// failure throws an Error that names the path and the cause (disk full, not writable ...), removes
/// the temporary and leaves the old one untouched.
///
/// Several ranks write one together, all at the same time: each its tensors, as files of its own
/// (model.rank-1.safetensors), and rank 0 the manifest, with its state and path, when all are on
/// the disk. The path of rank 0 holds; where it is empty nothing is written. A rank that has no
/// tensors writes no file. When one rank fails all of them do, and none leaves a file.
void write_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint,
                      Communicator& ranks);
/// That of one process.
void write_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint);

/// Reads a checkpoint (tensors on the CPU), following links, and puts the pieces of all ranks
/// together; pieces that leave a gap are an Error. Every file read is checked against its
/// size and checksum first; any missing, cut or altered byte is an Error that names the file, and
/// the newest sound checkpoints beside it. One of another format version is refused, as is one
/// whose sections lack a value (read_sections). A path without a checkpoint is an Error that names
/// those beside it.
/// Without `with_optimizer` that file is not looked at; with it, `optimizer` is empty when the
/// checkpoint was written without one.
Checkpoint load_checkpoint(const std::filesystem::path& path, bool with_optimizer = true);

/// Shapes of the whole tensors of its model, by name. Of the files of tensors the headers alone are
/// read.
std::map<std::string, std::vector<int64_t>> model_shapes(const std::filesystem::path& path);

/// Throws an Error where the safetensors file is the part of a rank, of a checkpoint that several
/// wrote together.
void refuse_part(const std::filesystem::path& path);

/// Reads and verifies manifest.json alone.
RunState read_state(const std::filesystem::path& path);

/// The Error of read_sections.
[[noreturn]] void fail_sections(const std::filesystem::path& path,
                                const nlohmann::json::exception& error);

/// Runs `read`, which takes values out of JSON of the checkpoint at `path`. One that is missing, or
/// of another type than is asked for, becomes an Error that names the path (such a checkpoint was
/// written by another build of the program).
template <typename Read>
auto read_sections(const std::filesystem::path& path, const Read& read) {
  try {
    return read();
  } catch (const nlohmann::json::exception& error) {
    fail_sections(path, error);
  }
}

/// The names of the checkpoints in a folder, newest first; whether they are sound is not looked at.
/// None where there is no folder.
std::vector<std::string> checkpoint_names(const std::filesystem::path& folder);

/// The file of a checkpoint that is written last.
std::filesystem::path manifest_path(const std::filesystem::path& checkpoint);

/// Whether `path` is (a link to) a folder with a manifest, or can be recovered from an interrupted
/// replacement.
bool checkpoint_exists(const std::filesystem::path& path);

/// Whether there is a checkpoint or what is left of one: its model without a manifest, or a link to
/// nothing. Other files and folders may have the name.
bool checkpoint_or_remains_exist(const std::filesystem::path& path);

/// Whether anything has that name, be it damaged, no checkpoint or a link to nothing: what must not
/// be passed over as if no run had been here.
bool checkpoint_entry_exists(const std::filesystem::path& path);

}  // namespace evomoe
