// The program of one target for libFuzzer; `fuzz_NAME --seeds FOLDER` writes its first corpus.
#include <cstdint>
#include <cstdlib>
#include <fstream>

#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace {

using evomoe::testing::TemporaryFolder;

const evomoe::fuzz::Target& target() { return evomoe::fuzz::targets().begin()->second; }

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  if (*count != 3 || std::string((*arguments)[1]) != "--seeds") return 0;
  const std::filesystem::path corpus = (*arguments)[2];
  const TemporaryFolder folder;
  int number = 0;
  for (const auto& seed : target().seeds(folder.path()))
    evomoe::testing::write_text(corpus / ("seed-" + std::to_string(number++)), seed);
  std::exit(0);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const TemporaryFolder folder;
  evomoe::fuzz::run(target(), folder.path(), {reinterpret_cast<const char*>(data), size});
  return 0;
}
