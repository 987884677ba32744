#include "evomoe/text/bpe_folder.h"

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

/// Copies those of the files that `from` has.
void copy_there(const fs::path& from, const fs::path& to, const std::vector<std::string>& names) {
  for (const auto& name : names) {
    if (fs::exists(from / name)) copy_file_to(from / name, to / name);
  }
}

}  // namespace

const std::vector<std::string>& hub_text_file_names() {
  static const std::vector<std::string> names = {
      kTokenizerFile,           "tokenizer_config.json", "special_tokens_map.json",
      "generation_config.json", "chat_template.jinja",   "chat_template.json"};
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
  if (files.hf_tokenizer && fs::is_directory(*files.hf_tokenizer)) {
    copy_there(*files.hf_tokenizer, folder, hub_text_file_names());
  } else if (files.hf_tokenizer) {
    copy_file_to(*files.hf_tokenizer, folder / kTokenizerFile);
  } else if (files.gpt2_encoder_json) {
    copy_file_to(*files.gpt2_encoder_json, folder / kEncoderFile);
    copy_file_to(files.gpt2_vocab_bpe.value(), folder / kMergesFile);
  }
}

void copy_bpe(const fs::path& from, const fs::path& folder) {
  copy_there(from, folder, {kEncoderFile, kMergesFile});
  copy_there(from, folder, hub_text_file_names());
}

}  // namespace evomoe
