#include "evomoe/checkpoint/checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <exception>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/base/mapped_file.h"
#include "evomoe/checkpoint/durable_file.h"
#include "evomoe/parallel/gather_text.h"

namespace evomoe {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char* kFormat = "evomoe-checkpoint";
constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kOptimizerFile = "optimizer.safetensors";
constexpr const char* kManifestFile = "manifest.json";

std::string hex(uint64_t checksum) { return fmt::format("{:016x}", checksum); }

/// The manifest is one JSON object whose first line is exactly this prefix; the checksum is that of
/// all following lines. So every byte is covered and any JSON tool can read it.
std::string manifest_prefix(std::string_view body) {
  return fmt::format("{{\"xxh64_of_the_lines_below\": \"{}\",\n", hex(xxhash64(body)));
}

json describe(const FileDigest& digest) {
  return {{"bytes", digest.bytes}, {"xxh64", hex(digest.checksum)}};
}

void write_manifest(const fs::path& path, const json& sections, const json& files) {
  const json content = {
      {"format", kFormat}, {"version", kManifestVersion}, {"files", files}, {"sections", sections}};
  std::string body;
  try {
    body = json_text(content, 1, BadUtf8::kThrow).substr(1) +
           "\n";  // without the first brace, which stands in the prefix
  } catch (const json::exception& error) {
    fail("cannot write {}: a section is not UTF-8 ({})", path.string(), error.what());
  }
  DurableFile out(path);
  out.write(manifest_prefix(body));
  out.write(body);
  out.close();
}

json load_manifest(const fs::path& folder) {
  const auto path = folder / kManifestFile;
  const MappedFile file(path);
  const auto text = file.bytes();
  const size_t line = text.find('\n');
  const auto body = line == std::string_view::npos ? std::string_view() : text.substr(line + 1);
  EVOMOE_CHECK(line != std::string_view::npos && text.substr(0, line + 1) == manifest_prefix(body),
               "{} does not match its checksum: it is cut, damaged or edited", path.string());
  const auto content = parse_json(text);
  EVOMOE_CHECK(content.is_object() && content.value("format", "") == kFormat &&
                   content.contains("version") && content["version"].is_number_integer() &&
                   content.contains("files") && content.contains("sections"),
               "{} is not the manifest of an evomoe checkpoint", path.string());
  const auto version = content["version"].get<int64_t>();
  EVOMOE_CHECK(version == kManifestVersion,
               "{} has format version {}, but this program reads version {} only: use the {} "
               "evomoe that wrote it, or start a new run from its weights with --init-from {}",
               path.string(), version, kManifestVersion,
               version < kManifestVersion ? "older" : "newer", (folder / kModelFile).string());
  return content;
}

/// What the metadata of a file says of the pieces in it.
constexpr const char* kPieces = "pieces";

/// The tensors of a file and the description of its pieces, after checking it, byte for byte,
/// against the manifest.
std::pair<TensorMap, std::string> load_verified(const fs::path& folder, const std::string& name,
                                                const json& files) {
  const auto path = folder / name;
  const auto& expected = files.at(name);
  const auto file = std::make_shared<MappedFile>(path);
  const uint64_t bytes = expected.at("bytes").get<uint64_t>();
  EVOMOE_CHECK(file->bytes().size() == bytes,
               "{} has {} bytes, but was written with {}: it is cut or damaged", path.string(),
               file->bytes().size(), bytes);
  EVOMOE_CHECK(hex(xxhash64(file->bytes())) == expected.at("xxh64").get<std::string>(),
               "{} does not match its checksum: it is damaged or was changed", path.string());
  auto header = parse_safetensors_header(file->bytes(), path.string());
  return {mapped_safetensors(file, header), header.metadata[kPieces]};
}

/// The file of a rank: "model.safetensors", of rank 2 "model.rank-2.safetensors".
std::string file_of_rank(const char* name, int rank) {
  if (rank == 0) return name;
  const fs::path path(name);
  return fmt::format("{}.rank-{}{}", path.stem().string(), rank, path.extension().string());
}

std::map<std::string, std::string> metadata_of(const TensorMap& tensors,
                                               const TensorPieces& pieces) {
  json described = json::object();
  for (const auto& [name, tensor] : tensors) {
    const auto found = pieces.find(name);
    if (found == pieces.end()) continue;
    const auto& piece = found->second;
    described[name] = {{"shape", piece.shape}, {"begin", piece.begin}, {"end", piece.end}};
  }
  if (described.empty()) return {};
  return {{kPieces, json_text(described, -1, BadUtf8::kThrow)}};
}

/// Puts tensors together whose pieces are in several files.
class Assembly {
 public:
  void add(const fs::path& file, TensorMap tensors, const std::string& pieces) {
    const auto described = pieces.empty() ? json::object() : parse_json(pieces);
    for (auto& [name, tensor] : tensors) {
      if (described.contains(name)) {
        const auto& of = described.at(name);
        const TensorPiece piece{of.at("shape"), of.at("begin"), of.at("end")};
        pieces_[name].push_back({piece, std::move(tensor), file});
      } else {
        EVOMOE_CHECK(whole_.emplace(name, std::move(tensor)).second,
                     "{}: another file of the checkpoint holds {} too", file.string(), name);
      }
    }
  }

  TensorMap finish() {
    for (auto& [name, pieces] : pieces_) whole_[name] = put_together(name, std::move(pieces));
    return std::move(whole_);
  }

 private:
  struct Part {
    TensorPiece piece;
    torch::Tensor tensor;
    fs::path file;
  };

  static torch::Tensor put_together(const std::string& name, std::vector<Part> parts) {
    std::ranges::stable_sort(parts, {}, [](const Part& part) { return part.piece.begin; });
    auto whole = torch::empty(parts.front().piece.shape, parts.front().tensor.options());
    int64_t elements = 0;
    for (const auto& [piece, tensor, file] : parts) {
      EVOMOE_CHECK(piece.shape == parts.front().piece.shape && piece.begin == elements &&
                       piece.end - piece.begin == tensor.numel() && piece.end <= whole.numel() &&
                       tensor.scalar_type() == whole.scalar_type(),
                   "{}: its part of {}, elements {} to {} of [{}], does not fit those of the other "
                   "files, which end at {}",
                   file.string(), name, piece.begin, piece.end, fmt::join(piece.shape, ","),
                   elements);
      whole.view({-1}).slice(0, piece.begin, piece.end).copy_(tensor.flatten());
      elements = piece.end;
    }
    EVOMOE_CHECK(elements == whole.numel(), "{}: no file holds elements {} to {} of {}",
                 parts.front().file.parent_path().string(), elements, whole.numel(), name);
    return whole;
  }

  TensorMap whole_;
  std::map<std::string, std::vector<Part>> pieces_;
};

/// The files of a kind, those of all ranks.
std::vector<std::string> files_of(const char* kind, const json& files) {
  const auto of_others = fs::path(kind).stem().string() + ".rank-";
  std::vector<std::string> names;
  for (const auto& [name, digest] : files.items()) {
    if (name == kind || name.starts_with(of_others)) names.push_back(name);
  }
  return names;
}

TensorMap load_all(const fs::path& folder, const char* kind, const json& files) {
  Assembly assembly;
  for (const auto& name : files_of(kind, files)) {
    auto [tensors, pieces] = load_verified(folder, name, files);
    assembly.add(folder / name, std::move(tensors), pieces);
  }
  return assembly.finish();
}

/// `runs/a/checkpoint_last/` is `runs/a/checkpoint_last`.
fs::path without_last_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

/// The folder that `path` leads to now. A replacement that was interrupted on a file system without
/// exchange left the old checkpoint under its backup name only.
fs::path resolve(const fs::path& path) {
  std::error_code error;
  auto folder = fs::canonical(path, error);
  if (error) {
    auto target = path;
    if (fs::is_symlink(path)) target = path.parent_path() / fs::read_symlink(path);
    folder = fs::canonical(backup_name(target), error);
    EVOMOE_CHECK(!error || !fs::is_symlink(path), "{} is a link to {}, which is missing",
                 path.string(), fs::read_symlink(path).string());
    EVOMOE_CHECK(!error, "cannot open {}: {}", path.string(), error.message());
  }
  EVOMOE_CHECK(path.extension() != ".safetensors",
               "{} is not a checkpoint but weights alone: evomoe train begins with them by "
               "--init-from",
               path.string());
  EVOMOE_CHECK(fs::is_directory(folder),
               "{} is not a checkpoint: a checkpoint is a folder with {}; `evomoe convert` makes "
               "one of a .pt file of fairseq",
               path.string(), kManifestFile);
  return folder;
}

/// Runs `work` on each rank; when it fails on one of them it fails on all.
template <typename Work>
void on_all(Communicator& ranks, const fs::path& path, const Work& work) {
  std::exception_ptr own;
  try {
    work();
  } catch (...) {
    own = std::current_exception();
  }
  const auto failed_P = ranks.all_gather(own ? 1 : 0);
  if (own) std::rethrow_exception(own);
  for (size_t rank = 0; rank < failed_P.size(); ++rank) {
    EVOMOE_CHECK(failed_P[rank] == 0,
                 "rank {} could not write its part of {}; its own message says why", rank,
                 path.string());
  }
}

/// Adds the files of this kind of all ranks. Sizes and checksums travel as four numbers of 32 bits.
void describe_files(const char* kind, const FileDigest& own, Communicator& ranks, json& files) {
  std::vector<double> numbers(4 * static_cast<size_t>(ranks.size()));
  auto* const mine = numbers.data() + 4 * ranks.rank();
  for (const auto& [place, value] : {std::pair(0, own.bytes), {2, own.checksum}}) {
    mine[place] = static_cast<double>(value >> 32);
    mine[place + 1] = static_cast<double>(value & 0xFFFFFFFF);
  }
  ranks.all_reduce_sum(numbers);
  for (int rank = 0; rank < ranks.size(); ++rank) {
    const auto value = [&](int place) {
      const auto* const of_rank = numbers.data() + 4 * rank + place;
      return (static_cast<uint64_t>(of_rank[0]) << 32) | static_cast<uint64_t>(of_rank[1]);
    };
    if (value(0) > 0) files[file_of_rank(kind, rank)] = describe({value(0), value(2)});
  }
}

struct Loaded {
  json sections;
  TensorMap model, optimizer;
};

Loaded load(const fs::path& path, bool with_optimizer) {
  const auto folder = resolve(path);
  auto content = load_manifest(folder);
  const auto& files = content["files"];
  Loaded loaded;
  static_cast<void>(files.at(kModelFile));  // an Error that names it
  loaded.model = load_all(folder, kModelFile, files);
  if (with_optimizer) loaded.optimizer = load_all(folder, kOptimizerFile, files);
  loaded.sections = std::move(content["sections"]);
  return loaded;
}

bool is_sound(const fs::path& path, bool with_optimizer) {
  try {
    load(path, with_optimizer);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// The names of the other checkpoints beside `path`, newest first.
std::vector<std::string> others_beside(const fs::path& path) {
  auto names = checkpoint_names(folder_of(path));
  std::erase(names, path.filename().string());
  return names;
}

[[noreturn]] void fail_absent(const fs::path& path) {
  const auto others = others_beside(path);
  fail("there is no checkpoint at {}; {}", path.string(),
       others.empty()
           ? fmt::format("nor is there another one in {}; check the path", folder_of(path).string())
           : fmt::format("there are, newest first: {}", fmt::join(others, ", ")));
}

/// A run's folder in place of one of its checkpoints is the likeliest mistake.
void refuse_run_folder(const fs::path& path) {
  if (!fs::is_directory(path) || fs::exists(path / kManifestFile)) return;
  const auto names = checkpoint_names(path);
  if (names.empty()) return;
  fail(
      "{} is a folder of checkpoints, not a checkpoint; did you mean {}? It holds, newest first: "
      "{}",
      path.string(), (path / names.front()).string(), fmt::join(names, ", "));
}

void refuse_data_folder(const fs::path& path) {
  if (!fs::is_directory(path) || fs::exists(path / kManifestFile)) return;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.path().extension() != ".idx") continue;
    fail(
        "{} is a data folder, as preprocess makes them, not a checkpoint; name a checkpoint, "
        "RUN/checkpoint_last",
        path.string());
  }
}

/// What to do instead of loading `path`, which is damaged or a link to nothing: the newest sound
/// checkpoints beside it, by name.
std::string remedy(const fs::path& path, bool with_optimizer) {
  constexpr size_t kMost = 3;  // each one costs reading it
  const auto folder = folder_of(path);
  std::vector<std::string> sound;
  for (const auto& name : others_beside(path)) {
    if (is_sound(folder / name, with_optimizer)) sound.push_back(name);
    if (sound.size() == kMost) break;
  }
  if (!sound.empty()) {
    return fmt::format(
        "sound checkpoints of {}, newest first: {}; train goes on from one with --restore-file {}",
        folder.string(), fmt::join(sound, ", "), (folder / sound.front()).string());
  }
  return fmt::format("{} holds no other sound checkpoint; to begin anew, {}", folder.string(),
                     fs::is_symlink(path) ? "remove the link" : "move it away");
}

/// Runs `read`; to an Error of it the remedy is added.
template <typename Read>
auto with_remedy(const fs::path& path, bool with_optimizer, const Read& read) {
  if (!checkpoint_entry_exists(path)) fail_absent(path);
  refuse_run_folder(path);
  refuse_data_folder(path);
  try {
    return read_sections(path, read);
  } catch (const Error& error) {
    fail("{}; {}", error.what(), remedy(path, with_optimizer));
  }
}

}  // namespace

void write_checkpoint(const fs::path& path, const Checkpoint& checkpoint) {
  SelfCommunicator one;
  write_checkpoint(path, checkpoint, one);
}

void write_checkpoint(const fs::path& own_path, const Checkpoint& checkpoint, Communicator& ranks) {
  const fs::path path =
      text_of_first_rank(ranks.rank() == 0 ? own_path.string() : std::string(), ranks);
  if (path.empty()) return;
  const auto temporary = temporary_name(path);
  const bool is_first = ranks.rank() == 0;
  try {
    on_all(ranks, path, [&] {
      if (!is_first) return;
      EVOMOE_CHECK(path.has_filename(),
                   "'{}' is not the name of a checkpoint; leave out the last slash", path.string());
      recover_entry(path);
      std::error_code made;
      fs::create_directory(temporary, made);
      EVOMOE_CHECK(!made, "cannot write the checkpoint {}: {}", path.string(), made.message());
    });
    json files;
    const auto write = [&](const char* kind, const TensorMap& tensors, bool always) {
      FileDigest digest;
      on_all(ranks, path, [&] {
        if (tensors.empty() && !always) return;
        digest = write_safetensors(temporary / file_of_rank(kind, ranks.rank()), tensors,
                                   metadata_of(tensors, checkpoint.pieces));
      });
      describe_files(kind, digest, ranks, files);
    };
    write(kModelFile, checkpoint.model, /*always=*/is_first);
    write(kOptimizerFile, checkpoint.optimizer, /*always=*/false);
    if (!is_first) return;
    write_manifest(temporary / kManifestFile, to_sections(checkpoint.state), files);
    sync_folder(temporary);
    replace_by_temporary(path);
  } catch (...) {
    std::error_code ignored;
    if (is_first) fs::remove_all(temporary, ignored);
    throw;
  }
}

Checkpoint load_checkpoint(const fs::path& path, bool with_optimizer) {
  const auto entry = without_last_slash(path);
  auto loaded = with_remedy(entry, with_optimizer, [&] { return load(entry, with_optimizer); });
  return {read_sections(path, [&] { return from_sections(loaded.sections); }),
          std::move(loaded.model), std::move(loaded.optimizer), /*pieces=*/{}};
}

void fail_sections(const fs::path& path, const json::exception& error) {
  // Without nlohmann's "[json.exception.out_of_range.403] ".
  std::string_view reason = error.what();
  if (const auto end = reason.find("] "); reason.starts_with('[') && end != reason.npos)
    reason.remove_prefix(end + 2);
  fail(
      "{}: its manifest is not what this evomoe writes ({}): use the evomoe that wrote it, or "
      "start a new run from its weights with --init-from {}",
      path.string(), reason, (path / kModelFile).string());
}

std::map<std::string, std::vector<int64_t>> model_shapes(const fs::path& path) {
  const auto entry = without_last_slash(path);
  return with_remedy(entry, /*with_optimizer=*/false, [&] {
    const auto folder = resolve(entry);
    const auto manifest = load_manifest(folder);
    std::map<std::string, std::vector<int64_t>> shapes;
    for (const auto& name : files_of(kModelFile, manifest.at("files"))) {
      auto header = read_safetensors_header(folder / name);
      for (const auto& [tensor, stored] : header.tensors) shapes.emplace(tensor, stored.shape);
      const auto& pieces = header.metadata[kPieces];
      if (pieces.empty()) continue;
      const auto described = parse_json(pieces);
      for (const auto& [tensor, piece] : described.items())
        shapes[tensor] = piece.at("shape").get<std::vector<int64_t>>();
    }
    return shapes;
  });
}

void refuse_part(const fs::path& path) {
  if (!read_safetensors_header(path).metadata.contains(kPieces)) return;
  fail(
      "{} is one of the files of a checkpoint that several ranks wrote together, and has a part of "
      "the experts only; begin with the whole by --finetune-from-model {}",
      path.string(), folder_of(path).string());
}

RunState read_state(const fs::path& path) {
  const auto entry = without_last_slash(path);
  const auto content =
      with_remedy(entry, /*with_optimizer=*/false, [&] { return load_manifest(resolve(entry)); });
  return read_sections(path, [&] { return from_sections(content.at("sections")); });
}

std::vector<std::string> checkpoint_names(const fs::path& folder) {
  std::vector<std::pair<fs::file_time_type, std::string>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto name = entry.path().filename().string();
    const auto written = fs::last_write_time(manifest_path(entry.path()), error);
    if (!error && name.front() != '.') found.emplace_back(written, name);
  }
  std::sort(found.rbegin(), found.rend());
  std::vector<std::string> names;
  for (auto& [written, name] : found) names.push_back(std::move(name));
  return names;
}

fs::path manifest_path(const fs::path& checkpoint) { return checkpoint / kManifestFile; }

bool checkpoint_exists(const fs::path& path) {
  const auto entry = without_last_slash(path);
  const auto target = fs::is_symlink(entry) ? entry.parent_path() / fs::read_symlink(entry) : entry;
  return fs::exists(target / kManifestFile) || fs::exists(backup_name(target) / kManifestFile);
}

bool checkpoint_or_remains_exist(const fs::path& path) {
  return checkpoint_exists(path) || fs::exists(path / kModelFile) ||
         (fs::is_symlink(path) && !fs::exists(path));
}

bool checkpoint_entry_exists(const fs::path& path) {
  const auto entry = without_last_slash(path);
  return is_there(entry) || is_there(backup_name(entry));
}

}  // namespace evomoe
