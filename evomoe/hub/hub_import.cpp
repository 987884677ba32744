#include "evomoe/hub/hub_import.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <regex>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/data/data_folders.h"
#include "evomoe/hub/hub_config.h"
#include "evomoe/hub/hub_files.h"
#include "evomoe/hub/hub_tensors.h"
#include "evomoe/hub/hub_tokenizer.h"
#include "evomoe/hub/hub_vocabulary.h"
#include "evomoe/loading/run_folder.h"
#include "evomoe/loading/stored_state.h"
#include "evomoe/report/meters.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/text/text_tokens.h"
#include "evomoe/text/tokenizer_rules.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/trainer.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

/// What older versions stored although it is made anew.
bool is_made_anew(const std::string& name) {
  return name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".embed_positions.weights") ||
         name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
}

/// Error where a layer has another number of experts than config.json says.
void check_expert_counts(const HubModel& theirs, const HubFiles& files, const fs::path& folder) {
  const auto& architecture = *theirs.architecture;
  if (!architecture.experts) return;
  static const std::regex of_expert(R"((.*\.experts)\.(\d{1,6})\..*)");
  std::map<std::string, int64_t> most;
  for (const auto& [name, place] : files.tensors) {
    std::smatch match;
    if (std::regex_match(name, match, of_expert)) {
      auto& count = most[match[1]];
      count = std::max(count, static_cast<int64_t>(std::stoll(match[2])) + 1);
    } else if (name.ends_with(".experts.gate_up_proj") && !place.entry.shape.empty()) {
      most[name] = place.entry.shape.front();
    }
  }
  const auto expected = theirs.options.moe.moe_expert_count;
  for (const auto& [where, count] : most) {
    EVOMOE_CHECK(count == expected,
                 "{}: config.json says that there are {} experts (`{}`), but {} has {}",
                 folder.string(), expected, architecture.experts_field, where, count);
  }
}

/// Error where config.json makes a much larger model than there are numbers, which need not be
/// tried.
void check_size(const GptOptions& gpt, const HubFiles& files, const fs::path& folder) {
  double numbers = 0;
  for (const auto& [name, place] : files.tensors) {
    double of_tensor = 1;
    for (const auto size : place.entry.shape) of_tensor *= static_cast<double>(size);
    numbers += of_tensor;
  }
  const auto D = static_cast<double>(gpt.embed_dim);
  const auto moe_layers =
      gpt.moe_freq > 0 ? gpt.layers / gpt.moe_freq - gpt.first_dense_layers / gpt.moe_freq : 0;
  const auto blocks =
      static_cast<double>(moe_layers) * static_cast<double>(gpt.expert_dim()) *
          static_cast<double>(gpt.moe.router.num_experts) +
      static_cast<double>(gpt.layers - moe_layers) * static_cast<double>(gpt.ffn_dim);
  const auto Q = static_cast<double>(gpt.attention().query_width());
  const auto parameters =
      D * (static_cast<double>(gpt.vocab_size) + static_cast<double>(gpt.layers) * Q + blocks);
  EVOMOE_CHECK(
      parameters <= 2 * numbers,
      "{}: config.json makes a model of {:.3g} parameters or more, and its files hold {:.3g}",
      folder.string(), parameters, numbers);
}

/// The first files of GPT-2 have its tensors without "transformer.".
void leave_base_out(const HubArchitecture& architecture, const HubFiles& files,
                    std::vector<HubTensor>& wanted) {
  if (architecture.family != HubFamily::kGpt2 || files.has(architecture.embedding)) return;
  for (auto& each : wanted) {
    if (each.name.starts_with(architecture.base)) each.name.erase(0, architecture.base.size());
  }
}

/// Error that names all tensors that are missing, too much, of another shape or type. `tied_head`:
/// may be there as well; empty: none.
void check_tensors(const std::vector<HubTensor>& wanted, const HubFiles& files,
                   const std::string& tied_head, const fs::path& folder) {
  std::vector<std::string> missing, different;
  std::map<std::string, bool> known;
  if (!tied_head.empty()) known[tied_head] = true;
  for (const auto& tensor : wanted) {
    known[tensor.name] = true;
    const auto found = files.tensors.find(tensor.name);
    if (found == files.tensors.end()) {
      missing.push_back(tensor.name);
      continue;
    }
    const auto& entry = found->second.entry;
    if (entry.dtype != torch::kFloat32 && entry.dtype != torch::kBFloat16 &&
        entry.dtype != torch::kFloat16) {
      different.push_back(fmt::format("{} is of {}; allowed are float32, bfloat16 and float16",
                                      tensor.name, c10::toString(entry.dtype)));
    } else if (entry.shape != tensor.sizes()) {
      different.push_back(fmt::format("{} is [{}], and by config.json [{}]", tensor.name,
                                      fmt::join(entry.shape, ", "),
                                      fmt::join(tensor.sizes(), ", ")));
    }
  }
  std::vector<std::string> extra;
  for (const auto& [name, place] : files.tensors) {
    if (!known.contains(name) && !is_made_anew(name)) extra.push_back(name);
  }
  if (missing.empty() && extra.empty() && different.empty()) return;
  std::string message =
      fmt::format("{}: its tensors are not those of its config.json", folder.string());
  const auto add = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty()) message += fmt::format("; {}: {}", what, fmt::join(names, ", "));
  };
  add("missing", missing);
  add("unknown", extra);
  add("different", different);
  fail("{}", message);
}

/// File by file.
void load(const std::vector<HubTensor>& wanted, const HubFiles& files,
          const HubArchitecture& architecture, bool tied, const fs::path& folder) {
  const torch::NoGradGuard no_grad;
  torch::Tensor head, embedding;
  for (const auto& path : files.files) {
    auto tensors = read_safetensors(path);
    for (const auto& each : wanted) {
      const auto found = tensors.find(each.name);
      if (found != tensors.end()) each.take(found->second);
    }
    if (!tied) continue;
    if (const auto found = tensors.find(architecture.head); found != tensors.end())
      head = found->second;
    if (const auto found = tensors.find(architecture.embedding); found != tensors.end())
      embedding = found->second;
  }
  EVOMOE_CHECK(!head.defined() || torch::equal(head, embedding),
               "{}: config.json ties the embeddings (`tie_word_embeddings`), but {} and {} differ",
               folder.string(), architecture.head, architecture.embedding);
}

Dictionary dictionary_of(const std::string& data, int64_t symbols, const fs::path& folder,
                         const ByteBpe* tokenizer) {
  if (data.empty()) return hub_dictionary(folder, symbols, tokenizer);
  const auto path = fs::path(split_data_paths(data).front()) / "dict.txt";
  auto dictionary = Dictionary::load(path);
  EVOMOE_CHECK(dictionary.size() == symbols,
               "{}: has {} symbols, and the model in {} {} (`vocab_size`)", path.string(),
               dictionary.size(), folder.string(), symbols);
  return dictionary;
}

/// Where the tokenizer puts <s> before each text, so do training and evaluation. The model has no
/// more positions for that.
void begin_as_tokenizer(TrainOptions& options, const ByteBpe& tokenizer,
                        const Dictionary& dictionary) {
  const auto& start = tokenizer.rules()->at_start;
  if (start.empty() || text_token(std::to_string(start.front()), dictionary) != Dictionary::kBos)
    return;
  options.task.add_bos_token = true;
  auto& positions = options.model.max_target_positions;
  positions = positions.value() - 1;
  options.task.tokens_per_sample = std::min(options.task.tokens_per_sample, *positions);
}

}  // namespace

TrainOptions import_hub_model(const fs::path& folder, const std::string& data,
                              const fs::path& output) {
  auto theirs = read_hub_config(folder);
  const auto files = read_hub_files(folder);
  check_expert_counts(theirs, files, folder);
  auto& options = theirs.options;
  const bool tied = options.model.share_decoder_input_output_embed.value();
  const auto& architecture = *theirs.architecture;
  const auto gpt =
      gpt_options(options, theirs.vocab_size, Dictionary::kPad, /*shared_expert=*/false);
  check_size(gpt, files, folder);
  const auto tokenizer = data.empty() ? hub_tokenizer(folder) : nullptr;
  const auto dictionary = dictionary_of(data, theirs.vocab_size, folder, tokenizer.get());
  if (tokenizer) begin_as_tokenizer(options, *tokenizer, dictionary);
  const auto model = make_model(options, Vocabulary::of_one(theirs.vocab_size, Dictionary::kPad),
                                /*shared_expert=*/false);
  const auto state = named_state(*model);
  auto wanted = hub_tensors(architecture, gpt, state, [&](const std::string& block) {
    return files.has(block + "mlp.experts.gate_up_proj");
  });
  leave_base_out(architecture, files, wanted);
  check_tensors(wanted, files, tied ? architecture.head : "", folder);
  load(wanted, files, architecture, tied, folder);
  const auto rows = hub_rows(dictionary, /*bpe=*/nullptr);
  for (const auto& each : wanted) {
    if (each.of_tokens) to_our_rows(each.parts.front(), rows);
  }

  fs::create_directories(output);
  options.data = data.empty() ? output.string() : data;
  options.checkpoint.save_dir = output.string();
  Checkpoint ours;
  for (const auto& [name, tensor] : state) ours.model[name] = tensor.detach();
  ours.state.config = stored_config(options);
  ours.state.evolution = evolution_record(stage_at(options.evolution, /*completed_updates=*/0),
                                          /*shared_expert=*/false);
  ours.state.model = model_record(dictionary, dictionary);
  ours.state.progress.meters = Metrics().state();
  if (tokenizer) import_hub_text(folder, output);
  write_run_folder(options, output);
  dictionary.save(output / "dict.txt");
  write_checkpoint(output / "checkpoint_last", ours);
  return options;
}

}  // namespace evomoe
