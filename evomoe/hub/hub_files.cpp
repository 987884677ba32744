#include "evomoe/hub/hub_files.h"

#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/base/json_file.h"
#include "evomoe/base/json_text.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOneFile = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

/// File by tensor.
std::map<std::string, std::string> read_index(const fs::path& path) {
  const auto index = read_json_file(path);
  EVOMOE_CHECK(index.contains("weight_map") && index.at("weight_map").is_object(),
               "{}: is not an index of shards, which has an object `weight_map`; take the file "
               "that belongs to the model's weights",
               path.string());
  std::map<std::string, std::string> files;
  const auto& map = index.at("weight_map");
  for (const auto& [name, value] : map.items()) {
    const auto shard = value.is_string() ? value.get<std::string>() : "";
    EVOMOE_CHECK(shard.ends_with(".safetensors") && fs::path(shard).filename() == shard,
                 "{}: the file of {} is {}; it must be the name of one in the same folder",
                 path.string(), name, json_text(value));
    files[name] = shard;
  }
  return files;
}

void add_file(HubFiles& all, const fs::path& path) {
  all.files.push_back(path);
  for (auto& [name, entry] : read_safetensors_header(path).tensors) {
    const auto [found, is_new] = all.tensors.try_emplace(name, HubFiles::Place{path, entry});
    EVOMOE_CHECK(is_new, "{} is in two files: {} and {}", name, found->second.file.string(),
                 path.string());
  }
}

}  // namespace

HubFiles read_hub_files(const fs::path& folder) {
  HubFiles all;
  if (fs::exists(folder / kOneFile)) {
    add_file(all, folder / kOneFile);
    return all;
  }
  EVOMOE_CHECK(fs::exists(folder / kIndex),
               "{}: has neither {} nor {}; weights in other files (pytorch_model.bin) must be "
               "saved as safetensors first: save_pretrained() of transformers does it",
               folder.string(), kOneFile, kIndex);
  const auto file_of = read_index(folder / kIndex);
  std::set<std::string> shards, absent;
  for (const auto& [name, shard] : file_of) {
    shards.insert(shard);
    if (!fs::exists(folder / shard)) absent.insert(shard);
  }
  EVOMOE_CHECK(absent.empty(), "{}: {} of its {} shards {} not there: {}", folder.string(),
               absent.size(), shards.size(), absent.size() == 1 ? "is" : "are",
               fmt::join(absent, ", "));
  for (const auto& shard : shards) add_file(all, folder / shard);
  std::vector<std::string> elsewhere;
  for (const auto& [name, shard] : file_of) {
    const auto found = all.tensors.find(name);
    if (found == all.tensors.end() || found->second.file.filename() != shard)
      elsewhere.push_back(fmt::format("{} in {}", name, shard));
  }
  EVOMOE_CHECK(elsewhere.empty(), "{}: it places tensors where they are not: {}",
               (folder / kIndex).string(), fmt::join(elsewhere, ", "));
  return all;
}

std::vector<fs::path> write_hub_files(const fs::path& folder,
                                      const std::vector<HubFileTensor>& tensors,
                                      int64_t shard_bytes, torch::ScalarType dtype) {
  std::vector<std::vector<const HubFileTensor*>> shards(1);
  int64_t total = 0, in_shard = 0;
  for (const auto& tensor : tensors) {
    const auto bytes = tensor.elements * static_cast<int64_t>(c10::elementSize(dtype));
    if (!shards.back().empty() && in_shard + bytes > shard_bytes) {
      shards.emplace_back();
      in_shard = 0;
    }
    shards.back().push_back(&tensor);
    in_shard += bytes;
    total += bytes;
  }
  nlohmann::ordered_json index;
  index["metadata"]["total_size"] = total;
  std::vector<fs::path> files;
  for (size_t i = 0; i < shards.size(); ++i) {
    const auto file = shards.size() == 1
                          ? std::string(kOneFile)
                          : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    TensorMap of_shard;
    for (const auto* tensor : shards[i]) {
      of_shard[tensor->name] = tensor->make().detach().to(torch::kCPU, dtype).contiguous();
      index["weight_map"][tensor->name] = file;
    }
    write_safetensors(folder / file, of_shard, {{"format", "pt"}});
    files.push_back(folder / file);
  }
  if (shards.size() > 1) {
    write_json_file(folder / kIndex, index);
    files.push_back(folder / kIndex);
  }
  return files;
}

}  // namespace evomoe
