// Files of torch.save: the zip.
#include "evomoe/base/error.h"
#include "evomoe/fairseq/torch_file.h"
#include "evomoe/fairseq/torch_file_writer.h"
#include "tests/fuzz/pickle_seeds.h"
#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

std::vector<std::string> pt_seeds(const std::filesystem::path& folder) {
  std::vector<std::string> seeds;
  for (const auto& file : fairseq_files()) {
    write_torch_file(folder / "x.pt", file);
    seeds.push_back(testing::read_text(folder / "x.pt"));
  }
  return seeds;
}

void read_pt(const std::filesystem::path& folder, const std::string& bytes) {
  testing::write_text(folder / "x.pt", bytes);
  read_torch_file(folder / "x.pt");
}

const Registration registration("pt", {pt_seeds, read_pt});

}  // namespace
}  // namespace evomoe::fuzz
