#include "evomoe/hub/hub_tokenizer.h"

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/base/json_file.h"
#include "evomoe/base/log.h"
#include "evomoe/text/bpe_folder.h"
#include "evomoe/text/tokenizer_rules.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

const std::vector<std::string>& id_fields() {
  static const std::vector<std::string> names = {"bos_token_id", "eos_token_id", "pad_token_id"};
  return names;
}

/// The texts that stand for our specials: <s> and so on, longer where the BPE has such a token.
std::vector<std::string> special_texts(const Dictionary& dictionary, const ByteBpe& bpe) {
  std::vector<std::string> texts;
  for (int64_t i = 0; i < Dictionary::kSpecials; ++i) {
    auto text = dictionary.symbol(i);
    while (bpe.token_of(text)) text = "<" + text + ">";
    texts.push_back(text);
  }
  return texts;
}

/// GPT-2's BPE as tokenizers has it. No ordered JSON, in which a name is looked for one by one.
json tokenizer_of_gpt2(const ByteBpe& bpe) {
  json model = {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", nullptr},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", false},
                {"byte_fallback", false},
                {"ignore_merges", false}};
  auto& vocab = model["vocab"] = json::object();
  for (int32_t id = 0; id < bpe.size(); ++id) vocab[bpe.spelling(id)] = id;
  auto& merges = model["merges"] = json::array();
  for (const auto& [left, right] : bpe.merges())
    merges.push_back({bpe.spelling(left), bpe.spelling(right)});
  json tokenizer;
  tokenizer["version"] = "1.0";
  tokenizer["truncation"] = nullptr;
  tokenizer["padding"] = nullptr;
  tokenizer["added_tokens"] = json::array();
  tokenizer["normalizer"] = nullptr;
  tokenizer["pre_tokenizer"] = {{"type", "ByteLevel"},
                                {"add_prefix_space", false},
                                {"trim_offsets", true},
                                {"use_regex", true}};
  tokenizer["post_processor"] = nullptr;
  tokenizer["decoder"] = tokenizer["pre_tokenizer"];
  tokenizer["model"] = std::move(model);
  return tokenizer;
}

/// Adds our specials to a tokenizer, one of which each text begins with.
void add_specials(json& tokenizer, const std::vector<std::string>& texts,
                  const Dictionary::SpecialIds& ids, size_t start) {
  for (size_t i = 0; i < texts.size(); ++i) {
    tokenizer["added_tokens"].push_back({{"id", ids[i]},
                                         {"content", texts[i]},
                                         {"single_word", false},
                                         {"lstrip", false},
                                         {"rstrip", false},
                                         {"normalized", false},
                                         {"special", true}});
  }
  const auto piece = [](const char* kind, const std::string& id, int type) {
    json made;
    made[kind] = {{"id", id}, {"type_id", type}};
    return made;
  };
  const auto& text = texts[start];
  json special;
  special[text] = {
      {"id", text}, {"ids", json::array({ids[start]})}, {"tokens", json::array({text})}};
  auto& processor = tokenizer["post_processor"] = {{"type", "TemplateProcessing"}};
  processor["single"] = json::array({piece("SpecialToken", text, 0), piece("Sequence", "A", 0)});
  processor["pair"] = json::array({piece("SpecialToken", text, 0), piece("Sequence", "A", 0),
                                   piece("SpecialToken", text, 1), piece("Sequence", "B", 1)});
  processor["special_tokens"] = special;
}

std::vector<fs::path> write_own_tokenizer(const HubTextExport& text, const fs::path& folder) {
  const auto& bpe = *text.bpe;
  auto tokenizer =
      bpe.rules() == nullptr ? tokenizer_of_gpt2(bpe) : read_json_file(text.run / kTokenizerFile);
  // split_special_tokens leaves all special tokens to the text; a tokenizer's own are found there.
  if (bpe.rules() != nullptr && !bpe.rules()->special_as_text) {
    for (auto& token : tokenizer["added_tokens"]) token["special"] = false;
  }
  const auto texts = special_texts(text.dictionary, bpe);
  add_specials(tokenizer, texts, text.rows.special_id,
               static_cast<size_t>(text.add_bos ? Dictionary::kBos : Dictionary::kEos));
  ordered_json config;
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["bos_token"] = texts[Dictionary::kBos];
  config["eos_token"] = texts[Dictionary::kEos];
  config["pad_token"] = texts[Dictionary::kPad];
  config["unk_token"] = texts[Dictionary::kUnk];
  config["model_max_length"] = text.positions;
  config["clean_up_tokenization_spaces"] = false;
  // As in our text, where `<s>` is three characters.
  config["split_special_tokens"] = true;
  // An interrupted export of another model may have left its own.
  for (const auto& name : hub_text_file_names()) fs::remove(folder / name);
  write_json_file(folder / kTokenizerConfigFile, config);
  write_json_file(folder / kTokenizerFile, tokenizer);
  return {folder / kTokenizerConfigFile, folder / kTokenizerFile};
}

ordered_json own_generation_config(const HubRows& rows) {
  const auto id = [&](int64_t special) { return rows.special_id[static_cast<size_t>(special)]; };
  ordered_json config;
  config["bos_token_id"] = id(Dictionary::kBos);
  config["eos_token_id"] = id(Dictionary::kEos);
  config["pad_token_id"] = id(Dictionary::kPad);
  if (rows.ours.empty()) return config;  // what the tokens mean is not known
  // What `evomoe generate` never takes.
  auto never = ordered_json::array({id(Dictionary::kBos), id(Dictionary::kPad)});
  for (size_t theirs = 0; theirs < rows.ours.size(); ++theirs) {
    if (rows.ours[theirs] == Dictionary::kUnk) never.push_back(theirs);
  }
  config["suppress_tokens"] = never;
  return config;
}

}  // namespace

std::unique_ptr<ByteBpe> hub_tokenizer(const fs::path& folder) {
  const auto path = folder / kTokenizerFile;
  if (!fs::exists(path)) return nullptr;
  try {
    return std::make_unique<ByteBpe>(ByteBpe::load_tokenizer(path));
  } catch (const Error& error) {
    log().warn("{}. The model is converted without it: its tokens are numbers", error.what());
    return nullptr;
  }
}

void import_hub_text(const fs::path& folder, const fs::path& output) {
  copy_tokenizer(folder / kTokenizerFile, output);
  if (fs::exists(folder / kGenerationConfigFile)) return;
  const auto config = read_json_file<ordered_json>(folder / "config.json");
  ordered_json generation = ordered_json::object();
  for (const auto& name : id_fields()) {
    if (config.contains(name)) generation[name] = config.at(name);
  }
  write_json_file(output / kGenerationConfigFile, generation);
}

std::vector<fs::path> export_hub_text(const HubTextExport& text, const fs::path& folder,
                                      ordered_json& config) {
  config["vocab_size"] = text.rows.size(config.at("vocab_size").get<int64_t>());
  std::vector<fs::path> files;
  const auto generation_file = folder / kGenerationConfigFile;
  bool has_generation = false;
  if (text.dictionary.special_ids() && fs::exists(text.run / kTokenizerFile)) {
    copy_tokenizer(text.run / kTokenizerFile, folder);
    for (const auto& name : hub_text_file_names()) {
      if (name != kGenerationConfigFile && fs::exists(folder / name))
        files.push_back(folder / name);
    }
    has_generation = fs::exists(text.run / kGenerationConfigFile);
  } else if (text.bpe != nullptr) {
    files = write_own_tokenizer(text, folder);
    if (config.at("model_type") == "qwen2") {
      log().warn(
          "AutoTokenizer of transformers 5 cuts text in a way of its own for models of qwen2; load "
          "this tokenizer with PreTrainedTokenizerFast.from_pretrained(\"{}\")",
          folder.string());
    }
    const auto copies = std::ranges::count(text.rows.ours, Dictionary::kUnk) - 1;
    if (copies > 0) {
      log().warn("{} tokens of the BPE are not in the dictionary: their rows are copies of <unk>'s",
                 copies);
    }
  }
  const auto generation = has_generation ? read_json_file<ordered_json>(generation_file)
                                         : own_generation_config(text.rows);
  if (!has_generation) write_json_file(generation_file, generation);
  files.push_back(generation_file);
  for (const auto& name : id_fields())
    config[name] = generation.contains(name) ? generation.at(name) : ordered_json();
  return files;
}

}  // namespace evomoe
