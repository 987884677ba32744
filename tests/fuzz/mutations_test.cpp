// The targets of `make fuzz` on a few thousand files that differ from sound ones.
#include <gtest/gtest.h>

#include <random>

#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

/// One to four changes: another byte, a cut, a piece left out, doubled, or taken from another seed.
std::string changed(std::string bytes, const std::vector<std::string>& seeds,
                    std::mt19937& random) {
  const auto below = [&](size_t bound) { return bound == 0 ? 0 : random() % bound; };
  for (auto changes = 1 + below(4); changes > 0; --changes) {
    const size_t at = below(bytes.size());
    const size_t length = below(std::min<size_t>(bytes.size() - at, 40) + 1);
    switch (below(6)) {
      case 0:
      case 1:
        if (!bytes.empty())
          bytes[at] = static_cast<char>(below(3) == 0 ? "\0\x7f\xff{["[below(5)] : random());
        break;
      case 2:
        if (below(8) == 0) bytes.resize(at);
        break;
      case 3:
        bytes.erase(at, length);
        break;
      case 4:
        bytes.insert(at, bytes.substr(at, length));
        break;
      default:
        const auto& other = seeds[below(seeds.size())];
        bytes.insert(at, other.substr(below(other.size()), length));
    }
  }
  return bytes;
}

class Mutations : public ::testing::TestWithParam<std::string> {};

TEST_P(Mutations, AFileThatIsNotSoundIsAnErrorAndNothingElse) {
  const auto& target = targets().at(GetParam());
  // What goes on with a file brings it to the disk, which takes its time two thousand times.
  if (std::filesystem::exists("/dev/shm")) setenv("TMPDIR", "/dev/shm", /*overwrite=*/0);
  const testing::TemporaryFolder folder, room;
  const auto seeds = target.seeds(folder.path());
  std::mt19937 random(1);
  const auto expect_sound = [&](const std::string& bytes, const std::string& what) {
    try {
      run(target, room.path(), bytes);
    } catch (const std::exception& error) {
      ADD_FAILURE() << what << ": " << error.what();
    }
  };
  for (size_t i = 0; i < seeds.size(); ++i) expect_sound(seeds[i], "seed " + std::to_string(i));
  for (int i = 0; i < 2000 && !HasFailure(); ++i) {
    expect_sound(changed(seeds[random() % seeds.size()], seeds, random),
                 "change " + std::to_string(i));
  }
}

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const auto& [name, target] : targets()) names.push_back(name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Targets, Mutations, ::testing::ValuesIn(names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace evomoe::fuzz
