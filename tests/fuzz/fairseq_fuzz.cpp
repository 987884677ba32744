// What the pickle of a checkpoint of fairseq says, as a file of its own, as the parts of a mixture
// of experts and as shards.
#include "evomoe/base/error.h"
#include "evomoe/fairseq/fairseq_checkpoint.h"
#include "tests/fuzz/pickle_seeds.h"
#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> fairseq_seeds(const fs::path& folder) {
  std::vector<std::string> seeds;
  for (const auto& file : fairseq_files()) seeds.push_back(pickle_of(file, folder));
  // The name of a tensor, in which an expert's is looked for.
  const std::string long_name(60'000, 'a');
  seeds.push_back(
      pickle_of(fairseq_file_with(long_name + ".moe_layer.experts.0.fc1.weight"), folder));
  return seeds;
}

void read_fairseq(const fs::path& folder, const std::string& bytes) {
  const auto whole = folder / "whole.pt";
  write_torch_zip(whole, bytes);
  for (const char* name :
       {"e-shared.pt", "e-rank-0.pt", "e-rank-1.pt", "s-shard0.pt", "s-shard1.pt"}) {
    fs::remove(folder / name);
    fs::create_hard_link(whole, folder / name);
  }
  for (const char* name : {"whole.pt", "e.pt", "s.pt"}) {
    try {
      read_fairseq_checkpoint(folder / name);
    } catch (const Error&) {
    }
  }
}

const Registration registration("fairseq", {fairseq_seeds, read_fairseq});

}  // namespace
}  // namespace evomoe::fuzz
