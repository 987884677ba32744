#include "evomoe/hub/hub_export.h"

#include <fmt/ranges.h>

#include <ostream>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/base/json_file.h"
#include "evomoe/base/log.h"
#include "evomoe/base/write_file.h"
#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/hub/embedded_files.h"
#include "evomoe/hub/hub_config_writer.h"
#include "evomoe/hub/hub_files.h"
#include "evomoe/hub/hub_fit.h"
#include "evomoe/hub/hub_tensors.h"
#include "evomoe/hub/hub_tokenizer.h"
#include "evomoe/hub/hub_vocabulary.h"
#include "evomoe/loading/run_folder.h"
#include "evomoe/loading/stored_state.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/model_options.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

torch::ScalarType type_of(const std::string& dtype) {
  if (dtype == "float32") return torch::kFloat32;
  if (dtype == "float16") return torch::kFloat16;
  if (dtype == "bfloat16") return torch::kBFloat16;
  fail_usage("--dtype {}: allowed are float32, float16, bfloat16", dtype);
}

const HubArchitecture& choose_architecture(const std::string& asked, const GptOptions& gpt,
                                           const std::string& checkpoint) {
  if (!asked.empty()) {
    const auto& architecture = find_hub_architecture(asked);
    const auto lacks = what_hub_lacks(architecture, gpt);
    if (!lacks.empty()) {
      fail_usage("{}: it is no model of --hf-architecture {}: {}", checkpoint, asked,
                 fmt::join(lacks, "; "));
    }
    return architecture;
  }
  std::string reasons;
  for (const auto& architecture : hub_architectures()) {
    const auto lacks = what_hub_lacks(architecture, gpt);
    if (lacks.empty()) return architecture;
    reasons += fmt::format("\n  {}: {}", architecture.type, fmt::join(lacks, "; "));
  }
  fail_usage("{}: no architecture of transformers is the same model:{}", checkpoint, reasons);
}

/// XGLM makes zeros of the sinusoids of that number, which it takes for a place that no token has.
void check_padding(const HubArchitecture& architecture, nlohmann::ordered_json& config) {
  auto& padding = config["pad_token_id"];
  if (architecture.type == "xglm" && padding.is_number() && padding > 1) padding = nullptr;
}

/// The modules that a model of our own class is loaded by.
void write_code(const fs::path& folder, std::vector<fs::path>& files) {
  for (const auto& [file, text] : {std::pair{"configuration_evomoe.py", configuration_evomoe_py()},
                                   {"modeling_evomoe.py", modeling_evomoe_py()}}) {
    files.push_back(folder / file);
    write_file(files.back(), [&text = text](std::ostream& stream) { stream << text; });
  }
}

}  // namespace

std::vector<fs::path> export_hub_model(const fs::path& checkpoint, const fs::path& folder,
                                       const HubExportOptions& options) {
  const auto dtype = type_of(options.dtype);
  const auto config = folder / "config.json";
  EVOMOE_CHECK(!fs::exists(config),
               "--output {}: it holds a model already, which would be overwritten; name another "
               "folder",
               folder.string());
  const auto name = checkpoint.string();
  const auto state = read_state(checkpoint);
  const auto trained = stored_model_options(state);
  if (family_of(trained).declaration().name != "language_model") {
    fail_usage("{}: it is {}; --to hf takes language models, --task language_modeling", name,
               family_of(trained).declaration().words);
  }
  EVOMOE_CHECK(
      !state.evolution.shared_expert,
      "{}: it is in the shared-expert stage, where the router is not used; convert a later "
      "checkpoint",
      name);
  const auto vocabulary = stored_vocabulary(state.model);
  const auto gpt =
      gpt_options(trained, vocabulary.target, vocabulary.padding, /*shared_expert=*/false);
  const auto& architecture = choose_architecture(options.architecture, gpt, name);

  const auto run = run_folder_of(checkpoint);
  // A checkpoint alone has no text.
  const bool has_text = fs::exists(run / "dict.txt");
  const auto dictionary =
      has_text ? dictionaries_of(checkpoint, "", trained.task).target : Dictionary();
  EVOMOE_CHECK(!has_text || dictionary.size() == vocabulary.target,
               "{}: has {} symbols, and the model {}; the file is another one's",
               (run / "dict.txt").string(), dictionary.size(), vocabulary.target);
  const auto bpe = has_text ? bpe_in(run) : nullptr;
  const HubTextExport text{.run = run,
                           .dictionary = dictionary,
                           .bpe = bpe.get(),
                           .rows = hub_rows(dictionary, bpe.get()),
                           .positions = gpt.max_positions,
                           .add_bos = trained.task.add_bos_token};
  // Views of the mapped checkpoint, until their file is written.
  const auto ours = load_checkpoint(checkpoint, /*with_optimizer=*/false);
  std::vector<HubFileTensor> tensors;
  for (auto& each : hub_tensors(architecture, gpt, {ours.model.begin(), ours.model.end()},
                                [](const std::string&) { return false; })) {
    auto sizes = each.sizes();
    if (each.of_tokens) sizes.front() = text.rows.size(sizes.front());
    tensors.push_back({each.name, c10::multiply_integers(sizes), [each = std::move(each), &text] {
                         const auto theirs = each.theirs();
                         return each.of_tokens ? in_their_rows(theirs, text.rows) : theirs;
                       }});
  }
  fs::create_directories(folder);
  auto files = write_hub_files(folder, tensors, options.shard_bytes, dtype);
  if (architecture.family == HubFamily::kEvomoe) {
    if (options.architecture.empty()) {
      log().info(
          "{}: no class of transformers is the same model, so its code is written beside it; load "
          "it with trust_remote_code=True",
          name);
    }
    write_code(folder, files);
  }
  auto fields = hub_config(architecture, gpt, options.dtype, trained.moe.use_moe_pad_mask);
  for (const auto& file : export_hub_text(text, folder, fields)) files.push_back(file);
  check_padding(architecture, fields);
  // Last, so that a folder with config.json is whole.
  write_json_file(config, fields);
  files.push_back(config);
  return files;
}

}  // namespace evomoe
