#include "evomoe/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <limits>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/durable_file.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

Checkpoint small_checkpoint(double value) {
  Checkpoint checkpoint;
  checkpoint.state.updates = static_cast<int64_t>(value);
  checkpoint.state.config = {{"lr", 0.5}};
  checkpoint.model = {{"w", torch::full({2, 3}, value)},
                      {"bias", torch::full({3}, value).to(torch::kBFloat16)}};
  checkpoint.optimizer = {{"w.exp_avg", torch::full({2, 3}, -value)},
                          {"w.step", torch::tensor(int64_t{7})}};
  return checkpoint;
}

void expect_equal(const Checkpoint& a, const Checkpoint& b) {
  EXPECT_EQ(a.state, b.state);
  for (const auto member : {&Checkpoint::model, &Checkpoint::optimizer}) {
    ASSERT_EQ((a.*member).size(), (b.*member).size());
    for (const auto& [name, tensor] : a.*member)
      EXPECT_TRUE(torch::equal(tensor, (b.*member).at(name))) << name;
  }
}

/// Names in the folder, hidden ones too.
size_t entries(const fs::path& folder) {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(Checkpoint, RoundTrips) {
  testing::TemporaryFolder folder;
  write_checkpoint(folder / "c", small_checkpoint(1));
  expect_equal(load_checkpoint(folder / "c"), small_checkpoint(1));
  EXPECT_EQ(read_state(folder / "c"), small_checkpoint(1).state);
  EXPECT_EQ(testing::read_json(folder / "c" / "manifest.json").at("sections"),
            to_sections(small_checkpoint(1).state));
  EXPECT_EQ(entries(folder.path()), 1U);
}

TEST(Checkpoint, ReplacesAnOlderOneLinkOrFile) {
  testing::TemporaryFolder folder;
  write_checkpoint(folder / "c", small_checkpoint(1));
  write_checkpoint(folder / "c", small_checkpoint(2));
  expect_equal(load_checkpoint(folder / "c"), small_checkpoint(2));
  fs::create_directory_symlink("c", folder / "link");
  write_checkpoint(folder / "link", small_checkpoint(3));
  expect_equal(load_checkpoint(folder / "link"), small_checkpoint(3));
  expect_equal(load_checkpoint(folder / "c"), small_checkpoint(2));
  EXPECT_EQ(entries(folder.path()), 2U);
}

TEST(Checkpoint, WithoutOptimizerThatFileIsNotLookedAt) {
  testing::TemporaryFolder folder;
  write_checkpoint(folder / "c", small_checkpoint(1));
  fs::remove(folder / "c" / "optimizer.safetensors");
  EXPECT_TRUE(load_checkpoint(folder / "c", /*with_optimizer=*/false).optimizer.empty());
  EXPECT_THAT(([&] { load_checkpoint(folder / "c"); }),
              ThrowsMessage<Error>(HasSubstr("optimizer.safetensors")));
  auto none = small_checkpoint(1);
  none.optimizer.clear();
  write_checkpoint(folder / "d", none);
  EXPECT_FALSE(fs::exists(folder / "d" / "optimizer.safetensors"));
  EXPECT_TRUE(load_checkpoint(folder / "d").optimizer.empty());
}

TEST(Checkpoint, EveryAlteredByteOfEveryFileIsRefused) {
  testing::TemporaryFolder folder;
  const auto path = folder / "c";
  write_checkpoint(path, small_checkpoint(1));
  int refused = 0;
  for (const auto* name : {"model.safetensors", "optimizer.safetensors", "manifest.json"}) {
    const auto original = testing::read_text(path / name);
    for (size_t i = 0; i < original.size(); ++i) {
      for (const char flip : {'\x01', '\x20', '\x80', '\xff'}) {
        auto damaged = original;
        damaged[i] = static_cast<char>(damaged[i] ^ flip);
        testing::write_text(path / name, damaged);
        EXPECT_THAT(([&] { load_checkpoint(path); }), ThrowsMessage<Error>(HasSubstr(name)))
            << name << " byte " << i;
        ++refused;
      }
    }
    testing::write_text(path / name, original);
  }
  EXPECT_GT(refused, 2000);
  expect_equal(load_checkpoint(path), small_checkpoint(1));
}

TEST(Checkpoint, EveryCutTailAddedByteAndMissingFileIsRefused) {
  testing::TemporaryFolder folder;
  const auto path = folder / "c";
  write_checkpoint(path, small_checkpoint(1));
  for (const auto* name : {"model.safetensors", "optimizer.safetensors", "manifest.json"}) {
    const auto original = testing::read_text(path / name);
    for (size_t size = 0; size < original.size(); ++size) {
      testing::write_text(path / name, original.substr(0, size));
      EXPECT_THAT(([&] { load_checkpoint(path); }), ThrowsMessage<Error>(HasSubstr(name)))
          << name << " of " << size;
    }
    testing::write_text(path / name, original + '\0');
    EXPECT_THAT(([&] { load_checkpoint(path); }), ThrowsMessage<Error>(HasSubstr(name)));
    fs::remove(path / name);
    EXPECT_THAT(([&] { load_checkpoint(path); }),
                ThrowsMessage<Error>(AllOf(HasSubstr(name), HasSubstr("No such file"))));
    testing::write_text(path / name, original);
  }
  expect_equal(load_checkpoint(path), small_checkpoint(1));
}

TEST(Checkpoint, FilesOfTwoCheckpointsCannotBeMixed) {
  testing::TemporaryFolder folder;
  write_checkpoint(folder / "a", small_checkpoint(1));
  write_checkpoint(folder / "b", small_checkpoint(2));
  fs::copy_file(folder / "b" / "model.safetensors", folder / "a" / "model.safetensors",
                fs::copy_options::overwrite_existing);
  EXPECT_THAT(([&] { load_checkpoint(folder / "a"); }),
              ThrowsMessage<Error>(HasSubstr("does not match its checksum")));
}

TEST(Checkpoint, NamesWhatIsNotACheckpoint) {
  testing::TemporaryFolder folder;
  EXPECT_THAT(([&] { load_checkpoint(folder / "none"); }),
              ThrowsMessage<Error>(HasSubstr("there is no checkpoint at")));
  testing::write_text(folder / "model.pt", "pickle");
  EXPECT_THAT(([&] { load_checkpoint(folder / "model.pt"); }),
              ThrowsMessage<Error>(HasSubstr("a checkpoint is a folder")));
  fs::create_directory(folder / "empty");
  EXPECT_THAT(([&] { load_checkpoint(folder / "empty"); }),
              ThrowsMessage<Error>(HasSubstr("manifest.json")));
  fs::create_directory_symlink("gone", folder / "link");
  EXPECT_THAT(([&] { load_checkpoint(folder / "link"); }),
              ThrowsMessage<Error>(HasSubstr("a link to gone, which is missing")));
  for (const auto* name : {"none", "model.pt", "empty", "link"})
    EXPECT_FALSE(checkpoint_exists(folder / name)) << name;
  write_checkpoint(folder / "gone", small_checkpoint(1));
  EXPECT_TRUE(checkpoint_exists(folder / "link"));
  expect_equal(load_checkpoint(folder / "link"), small_checkpoint(1));
}

TEST(Checkpoint, ARefusalNamesTheSoundCheckpointsBesideIt) {
  testing::TemporaryFolder folder;
  for (const auto* name : {"checkpoint1", "checkpoint2", "checkpoint3"})
    write_checkpoint(folder / name, small_checkpoint(1));
  testing::write_text(folder / "checkpoint2/model.safetensors", "cut");
  fs::create_directory_symlink("checkpoint4", folder / "checkpoint_last");
  const auto lists =
      AllOf(HasSubstr("a link to checkpoint4, which is missing"),
            HasSubstr("newest first: checkpoint3, checkpoint1"), Not(HasSubstr("checkpoint2")));
  EXPECT_THAT(([&] { load_checkpoint(folder / "checkpoint_last"); }), ThrowsMessage<Error>(lists));
  EXPECT_THAT(([&] { read_state(folder / "checkpoint_last"); }), ThrowsMessage<Error>(lists));
  EXPECT_THAT(([&] { load_checkpoint(folder / "checkpoint2"); }),
              ThrowsMessage<Error>(AllOf(HasSubstr("model.safetensors"),
                                         HasSubstr("newest first: checkpoint3, checkpoint1"))));
  fs::remove_all(folder / "checkpoint1");
  fs::remove_all(folder / "checkpoint3");
  EXPECT_THAT(([&] { load_checkpoint(folder / "checkpoint2"); }),
              ThrowsMessage<Error>(HasSubstr("holds no other sound checkpoint")));
}

TEST(Checkpoint, AnAbsentOneIsToldFromADanglingLinkAndADamagedOne) {
  testing::TemporaryFolder folder;
  const auto message = [&](const std::string& name) -> std::string {
    try {
      load_checkpoint(folder / name);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  const auto nothing_to_move = Not(AnyOf(HasSubstr("move it away"), HasSubstr("remove the link")));
  EXPECT_THAT(message("none"), AllOf(HasSubstr("there is no checkpoint at"),
                                     HasSubstr("check the path"), nothing_to_move));
  EXPECT_THAT(message("no/folder"), AllOf(HasSubstr("there is no checkpoint at"), nothing_to_move));
  fs::create_directory(folder / "damaged");
  fs::create_directory_symlink("gone", folder / "link");
  EXPECT_THAT(message("damaged"),
              HasSubstr("holds no other sound checkpoint; to begin anew, move"));
  EXPECT_THAT(message("link"), HasSubstr("to begin anew, remove the link"));
  write_checkpoint(folder / "checkpoint1", small_checkpoint(1));
  const auto restore = HasSubstr("--restore-file " + (folder / "checkpoint1").string());
  EXPECT_THAT(message("damaged"), AllOf(HasSubstr("newest first: checkpoint1;"), restore));
  EXPECT_THAT(message("link"), AllOf(HasSubstr("newest first: checkpoint1;"), restore));
  EXPECT_THAT(message(""), AllOf(HasSubstr("is a folder of checkpoints, not a checkpoint"),
                                 HasSubstr((folder / "checkpoint1").string() + "?")));
  fs::create_directory(folder / "data-bin");
  testing::write_text(folder / "data-bin/train.idx", "");
  EXPECT_THAT(message("data-bin"), HasSubstr("is a data folder, as preprocess makes them"));
  // Of an absent one only names are said: nothing is read.
  testing::write_text(folder / "checkpoint1/model.safetensors", "cut");
  EXPECT_THAT(message("none"),
              AllOf(HasSubstr("there are, newest first: checkpoint1"), nothing_to_move));
}

/// Writes `text` as a manifest that matches its checksum.
void forge_manifest(const fs::path& path, const std::string& from, const std::string& to) {
  auto text = testing::read_text(path / "manifest.json");
  text = text.substr(text.find('\n') + 1);
  const auto at = text.find(from);
  ASSERT_NE(at, std::string::npos) << text;
  text.replace(at, from.size(), to);
  testing::write_text(
      path / "manifest.json",
      fmt::format("{{\"xxh64_of_the_lines_below\": \"{:016x}\",\n{}", xxhash64(text), text));
}

TEST(Checkpoint, AnotherFormatVersionIsRefusedWithTheRemedy) {
  for (const auto& [version, age] : {std::pair("1", "older"), std::pair("3", "newer")}) {
    testing::TemporaryFolder folder;
    write_checkpoint(folder / "c", small_checkpoint(1));
    forge_manifest(folder / "c", "\"version\": 2", std::string("\"version\": ") + version);
    const auto refused = ThrowsMessage<Error>(AllOf(
        HasSubstr((folder / "c/manifest.json").string()),
        HasSubstr(std::string("format version ") + version), HasSubstr("reads version 2 only"),
        HasSubstr(age), HasSubstr("--init-from " + (folder / "c/model.safetensors").string())));
    EXPECT_THAT([&] { load_checkpoint(folder / "c"); }, refused);
    EXPECT_THAT([&] { read_state(folder / "c"); }, refused);
  }
}

TEST(Checkpoint, AMissingOrWronglyTypedSectionNamesThePathAndWhatIsMissing) {
  testing::TemporaryFolder folder;
  write_checkpoint(folder / "c", small_checkpoint(1));
  const auto names = [&](const char* what) {
    return ThrowsMessage<Error>(AllOf(HasSubstr((folder / "c").string()), HasSubstr(what),
                                      HasSubstr("--init-from"), Not(HasSubstr("json.exception"))));
  };
  const auto expect_refused = [&](const std::string& now, const std::string& then,
                                  const char* what) {
    forge_manifest(folder / "c", now, then);
    EXPECT_THAT([&] { load_checkpoint(folder / "c"); }, names(what));
    EXPECT_THAT([&] { read_state(folder / "c"); }, names(what));
    forge_manifest(folder / "c", then, now);
    EXPECT_NO_THROW(load_checkpoint(folder / "c"));
  };
  expect_refused("\"patience\"", "\"impatience\"", "'patience'");
  expect_refused("\"updates\": 1", "\"updates\": \"1\"", "must be number");
  forge_manifest(folder / "c", "\"model.safetensors\"", "\"other.safetensors\"");
  EXPECT_THAT([&] { load_checkpoint(folder / "c"); }, names("'model.safetensors'"));
}

TEST(Checkpoint, AnEntryExistsEvenWhenItCannotBeLoaded) {
  testing::TemporaryFolder folder;
  EXPECT_FALSE(checkpoint_entry_exists(folder / "checkpoint_last"));
  fs::create_directory_symlink("gone", folder / "checkpoint_last");
  EXPECT_TRUE(checkpoint_entry_exists(folder / "checkpoint_last"));
  EXPECT_FALSE(checkpoint_exists(folder / "checkpoint_last"));
  fs::create_directory(folder / "empty");
  EXPECT_TRUE(checkpoint_entry_exists(folder / "empty"));
  fs::create_directory(backup_name(folder / "half"));
  EXPECT_TRUE(checkpoint_entry_exists(folder / "half")) << "an interrupted replacement";
}

TEST(Checkpoint, ASlashAtTheEndOfThePathChangesNothing) {
  testing::TemporaryFolder folder;
  write_checkpoint(folder / "c", small_checkpoint(1));
  fs::create_directory_symlink("c", folder / "link");
  fs::create_directory_symlink("gone", folder / "dangling");
  for (const auto* name : {"c/", "link/", "link//"}) {
    expect_equal(load_checkpoint(folder / name), small_checkpoint(1));
    EXPECT_TRUE(checkpoint_exists(folder / name)) << name;
    EXPECT_TRUE(checkpoint_entry_exists(folder / name)) << name;
  }
  EXPECT_TRUE(checkpoint_entry_exists(folder / "dangling/"));
  EXPECT_THAT(([&] { load_checkpoint(folder / "dangling/"); }),
              ThrowsMessage<Error>(HasSubstr("a link to gone, which is missing")));
}

TEST(Checkpoint, AnInterruptedReplacementCanBeLoadedAndIsMended) {
  testing::TemporaryFolder folder;
  write_checkpoint(folder / "c", small_checkpoint(1));
  // What is left when the writer dies between the two renames on a file system that cannot exchange
  // names.
  fs::rename(folder / "c", backup_name(folder / "c"));
  fs::create_directory(temporary_name(folder / "c"));
  EXPECT_TRUE(checkpoint_exists(folder / "c"));
  expect_equal(load_checkpoint(folder / "c"), small_checkpoint(1));
  recover_folder(folder.path());
  EXPECT_EQ(entries(folder.path()), 1U);
  expect_equal(load_checkpoint(folder / "c"), small_checkpoint(1));
}

TEST(Checkpoint, LeftoversOfACrashedWriterAreRemoved) {
  testing::TemporaryFolder folder;
  write_checkpoint(folder / "c", small_checkpoint(1));
  fs::create_directories(temporary_name(folder / "c") / "deep");
  testing::write_text(temporary_name(folder / "c") / "deep" / "x", "half");
  fs::create_directory(backup_name(folder / "c"));
  write_checkpoint(folder / "c", small_checkpoint(2));
  EXPECT_EQ(entries(folder.path()), 1U);
  expect_equal(load_checkpoint(folder / "c"), small_checkpoint(2));
}

TEST(Checkpoint, AFailedWriteLeavesTheOldOneAndNoTemporary) {
  testing::TemporaryFolder folder;
  write_checkpoint(folder / "c", small_checkpoint(1));
  auto bad = small_checkpoint(2);
  bad.optimizer["broken"] = torch::Tensor();
  EXPECT_THAT(([&] { write_checkpoint(folder / "c", bad); }),
              ThrowsMessage<Error>(HasSubstr("'broken' is undefined")));
  bad = small_checkpoint(2);
  bad.state.config["text"] = "\xff";
  EXPECT_THAT(([&] { write_checkpoint(folder / "c", bad); }),
              ThrowsMessage<Error>(HasSubstr("not UTF-8")));
  EXPECT_EQ(entries(folder.path()), 1U);
  expect_equal(load_checkpoint(folder / "c"), small_checkpoint(1));
  EXPECT_THAT(([&] { write_checkpoint(folder / "no" / "c", bad); }),
              ThrowsMessage<Error>(HasSubstr("No such file")));
  EXPECT_THAT(([&] { write_checkpoint("c/", bad); }),
              ThrowsMessage<Error>(HasSubstr("last slash")));
}

TEST(Checkpoint, NonFiniteNumbersOfTheManifestBecomeNull) {
  testing::TemporaryFolder folder;
  auto checkpoint = small_checkpoint(1);
  checkpoint.state.config["ppl"] = std::numeric_limits<double>::infinity();
  write_checkpoint(folder / "c", checkpoint);
  EXPECT_TRUE(read_state(folder / "c").config.at("ppl").is_null());
}

/// Runs `write` in a child that cannot make a file larger than `limit` bytes, as on a full disk.
/// Returns what it threw.
std::string error_with_file_size_limit(rlim_t limit, const std::function<void()>& write) {
  int channel[2];
  if (::pipe(channel) != 0) return "pipe failed";
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit size = {limit, limit};
    ::setrlimit(RLIMIT_FSIZE, &size);
    std::string message = "no error";
    try {
      write();
    } catch (const Error& error) {
      message = error.what();
    }
    const ssize_t sent = ::write(channel[1], message.data(), message.size());
    ::_exit(sent == static_cast<ssize_t>(message.size()) ? 0 : 1);
  }
  ::close(channel[1]);
  std::string message;
  char buffer[256];
  for (ssize_t got = 0; (got = ::read(channel[0], buffer, sizeof(buffer))) > 0;)
    message.append(buffer, static_cast<size_t>(got));
  ::close(channel[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return message;
}

TEST(Checkpoint, AFullDiskAtAnyByteLeavesTheOldOneAndNamesTheCause) {
  torch::set_num_threads(1);
  testing::TemporaryFolder folder;
  write_checkpoint(folder / "c", small_checkpoint(1));
  auto larger = small_checkpoint(2);
  larger.model["more"] = torch::ones({100});
  uint64_t largest = 0;
  write_checkpoint(folder / "size", larger);
  for (const auto& entry : fs::directory_iterator(folder / "size"))
    largest = std::max<uint64_t>(largest, entry.file_size());
  fs::remove_all(folder / "size");
  for (uint64_t limit = 0; limit < largest; limit += 23) {
    const auto message =
        error_with_file_size_limit(limit, [&] { write_checkpoint(folder / "c", larger); });
    EXPECT_THAT(message, AllOf(HasSubstr((folder / ".c.tmp").string()), HasSubstr("File too large"),
                               HasSubstr("free some space")));
    EXPECT_EQ(entries(folder.path()), 1U) << limit;
    expect_equal(load_checkpoint(folder / "c"), small_checkpoint(1));
  }
  EXPECT_EQ(error_with_file_size_limit(largest, [&] { write_checkpoint(folder / "c", larger); }),
            "no error");
  expect_equal(load_checkpoint(folder / "c"), larger);
}

}  // namespace
}  // namespace evomoe
