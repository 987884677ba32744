#include "evomoe/text/bpe_folder.h"

#include <array>
#include <string_view>

#include "evomoe/base/error.h"
#include "evomoe/base/write_file.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEncoderFile = "encoder.json";
constexpr const char* kMergesFile = "vocab.bpe";

fs::path tokenizer_file(const std::string& given) {
  if (!fs::is_directory(given)) return given;
  const auto path = fs::path(given) / kTokenizerFile;
  EVOMOE_CHECK(fs::exists(path),
               "--hf-tokenizer {}: the folder has no tokenizer.json; save_pretrained() of the "
               "tokenizer in transformers writes one",
               given);
  return path;
}

/// Removes the files of these names; how a model generates is the model's and stays.
template <typename Names>
void remove_files(const fs::path& folder, const Names& names) {
  for (const auto& name : names) {
    if (name != std::string_view(kGenerationConfigFile)) fs::remove(folder / name);
  }
}

void copy_gpt2(const fs::path& encoder_json, const fs::path& vocab_bpe, const fs::path& folder) {
  EVOMOE_CHECK(
      fs::exists(vocab_bpe),
      "{}: is not there, and {} needs it: what wrote them was interrupted; make them again",
      vocab_bpe.string(), encoder_json.string());
  copy_file_to(encoder_json, folder / kEncoderFile);
  copy_file_to(vocab_bpe, folder / kMergesFile);
  remove_files(folder, hub_text_file_names());
}

}  // namespace

const std::vector<std::string>& hub_text_file_names() {
  static const std::vector<std::string> names = {kTokenizerConfigFile,  "special_tokens_map.json",
                                                 kGenerationConfigFile, "chat_template.jinja",
                                                 "chat_template.json",  kTokenizerFile};
  return names;
}

std::unique_ptr<ByteBpe> bpe_in(const fs::path& folder) {
  if (fs::exists(folder / kEncoderFile)) {
    return std::make_unique<ByteBpe>(ByteBpe::load(folder / kEncoderFile, folder / kMergesFile));
  }
  if (!fs::exists(folder / kTokenizerFile)) return nullptr;
  return std::make_unique<ByteBpe>(ByteBpe::load_tokenizer(folder / kTokenizerFile));
}

std::unique_ptr<ByteBpe> given_bpe(const BpeFiles& files) {
  if (files.hf_tokenizer) {
    return std::make_unique<ByteBpe>(ByteBpe::load_tokenizer(tokenizer_file(*files.hf_tokenizer)));
  }
  if (!files.gpt2_encoder_json) return nullptr;
  return std::make_unique<ByteBpe>(
      ByteBpe::load(*files.gpt2_encoder_json, files.gpt2_vocab_bpe.value()));
}

void copy_bpe(const BpeFiles& files, const fs::path& folder) {
  if (files.hf_tokenizer) {
    copy_tokenizer(tokenizer_file(*files.hf_tokenizer), folder);
  } else if (files.gpt2_encoder_json) {
    copy_gpt2(*files.gpt2_encoder_json, files.gpt2_vocab_bpe.value(), folder);
  }
}

void copy_bpe(const fs::path& from, const fs::path& folder) {
  std::error_code none;
  if (fs::equivalent(from, folder, none)) return;
  if (fs::exists(from / kEncoderFile)) {
    copy_gpt2(from / kEncoderFile, from / kMergesFile, folder);
  } else if (fs::exists(from / kTokenizerFile)) {
    copy_tokenizer(from / kTokenizerFile, folder);
  }
}

void copy_tokenizer(const fs::path& tokenizer_json, const fs::path& folder) {
  std::vector<std::string> missing;
  for (const auto& name : hub_text_file_names()) {
    const auto from = name == kTokenizerFile ? tokenizer_json : tokenizer_json.parent_path() / name;
    if (fs::exists(from)) {
      copy_file_to(from, folder / name);
    } else {
      missing.push_back(name);
    }
  }
  remove_files(folder, missing);
  remove_files(folder, std::array{kEncoderFile, kMergesFile});
}

}  // namespace evomoe
