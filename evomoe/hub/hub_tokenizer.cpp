#include "evomoe/hub/hub_tokenizer.h"

#include <algorithm>
#include <fstream>
#include <ostream>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/base/parse_json.h"
#include "evomoe/base/write_file.h"
#include "evomoe/text/bpe_folder.h"
#include "evomoe/text/tokenizer_rules.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kGenerationFile = "generation_config.json";
constexpr const char* kTokenizerConfigFile = "tokenizer_config.json";

template <typename Json = ordered_json>
Json read_object(const fs::path& path) {
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  auto value = parse_json<Json>(text);
  EVOMOE_CHECK(file && value.is_object(), "{}: is not a JSON object", path.string());
  return value;
}

template <typename Json>
void write_object(const fs::path& path, const Json& object) {
  write_file(path, [&](std::ostream& stream) {
    stream << object.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  });
}

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
  auto tokenizer = bpe.rules() == nullptr ? tokenizer_of_gpt2(bpe)
                                          : read_object<json>(text.run / kTokenizerFile);
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
  write_object(folder / kTokenizerFile, tokenizer);
  write_object(folder / kTokenizerConfigFile, config);
  return {folder / kTokenizerFile, folder / kTokenizerConfigFile};
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
  copy_bpe({.bpe = "hf", .hf_tokenizer = folder.string()}, output);
  if (fs::exists(folder / kGenerationFile)) return;
  const auto config = read_object(folder / "config.json");
  ordered_json generation = ordered_json::object();
  for (const auto& name : id_fields()) {
    if (config.contains(name)) generation[name] = config.at(name);
  }
  write_object(output / kGenerationFile, generation);
}

std::vector<fs::path> export_hub_text(const HubTextExport& text, const fs::path& folder,
                                      ordered_json& config) {
  config["vocab_size"] = text.rows.size(config.at("vocab_size").get<int64_t>());
  std::vector<fs::path> files;
  const bool theirs = text.dictionary.special_ids().has_value();
  if (theirs) {
    copy_bpe({.bpe = "hf", .hf_tokenizer = text.run.string()}, folder);
    for (const auto& name : hub_text_file_names()) {
      if (fs::exists(text.run / name) && name != kGenerationFile) files.push_back(folder / name);
    }
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
  auto generation = own_generation_config(text.rows);
  if (theirs && fs::exists(text.run / kGenerationFile))
    generation = read_object(text.run / kGenerationFile);
  write_object(folder / kGenerationFile, generation);
  files.push_back(folder / kGenerationFile);
  for (const auto& name : id_fields())
    config[name] = generation.contains(name) ? generation.at(name) : ordered_json();
  return files;
}

}  // namespace evomoe
