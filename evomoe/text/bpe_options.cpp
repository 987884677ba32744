#include "evomoe/text/bpe_options.h"

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"

namespace evomoe {
namespace {

void add_hf_tokenizer(OptionTable& table, std::optional<std::string>& target,
                      const std::string& where) {
  table
      .add("hf-tokenizer", &target,
           where + "tokenizer.json of a byte-level BPE, or the folder of a model that has it.")
      .metavar("PATH");
}

}  // namespace

void BpeFiles::describe(OptionTable& table) {
  table
      .add("bpe", &bpe,
           "How text becomes symbols: by GPT-2's byte-level BPE, by a tokenizer of Hugging Face, "
           "or split at spaces (none). Not given: at spaces; with a checkpoint by the BPE that its "
           "run folder has.")
      .choices({"gpt2", "hf", "none"});
  table.add("gpt2-encoder-json", &gpt2_encoder_json, "encoder.json of the BPE.").metavar("FILE");
  table.add("gpt2-vocab-bpe", &gpt2_vocab_bpe, "vocab.bpe of the BPE.").metavar("FILE");
  add_hf_tokenizer(table, hf_tokenizer, "--bpe hf: ");
}

void BpeFlags::describe(OptionTable& table) {
  table.positional("action", &action, "What to do: train, encode or decode.")
      .choices({"train", "encode", "decode"})
      .metavar("ACTION")
      .required();
  table
      .positional("input", &input,
                  "train: files, patterns in quotes or folders, as for preprocess --trainpref; "
                  "encode, decode: "
                  "one file, none or -: stdin.")
      .metavar("FILE...");
  table
      .add("output", &output,
           "encode, decode: file to write; -: stdout. What is encoded is decoded to the same "
           "bytes.")
      .metavar("FILE");
  table.add("destdir", &destdir, "train: folder for encoder.json and vocab.bpe.").metavar("FOLDER");
  table.add("vocab-size", &vocab_size, "train: symbols, with the 256 bytes and <|endoftext|>.")
      .at_least(257);
  table.add("keep-whitespace", &keep_whitespace,
            "train: learns from the white space at both ends of lines too, for text that is "
            "encoded with it (preprocess --keep-whitespace, bpe encode).");
  table.add("gpt2-encoder-json", &gpt2_encoder_json, "encode, decode: encoder.json of the BPE.")
      .metavar("FILE");
  table.add("gpt2-vocab-bpe", &gpt2_vocab_bpe, "encode, decode: vocab.bpe of the BPE.")
      .metavar("FILE");
  add_hf_tokenizer(table, hf_tokenizer, "encode, decode, instead of these: ");
  table.add("workers", &workers, "train, encode: threads; the result does not depend on it.")
      .range(1, 1024);
  table.example("evomoe bpe train corpus/ --vocab-size 8192 --destdir bpe", "learn a BPE");
  table.example(
      "evomoe bpe encode book.txt --gpt2-encoder-json bpe/encoder.json --gpt2-vocab-bpe "
      "bpe/vocab.bpe --output book.bpe",
      "use it");
}

BpeFiles BpeFlags::files() const {
  return {.bpe = hf_tokenizer ? "hf" : "gpt2",
          .gpt2_encoder_json = gpt2_encoder_json,
          .gpt2_vocab_bpe = gpt2_vocab_bpe,
          .hf_tokenizer = hf_tokenizer};
}

void validate_options(const BpeFiles& files) {
  const bool gpt2 = files.gpt2_encoder_json || files.gpt2_vocab_bpe;
  if (files.bpe == "gpt2" && !(files.gpt2_encoder_json && files.gpt2_vocab_bpe)) {
    fail_usage(
        "--bpe gpt2 needs --gpt2-encoder-json and --gpt2-vocab-bpe (`evomoe bpe train` makes "
        "both)");
  }
  if (files.bpe == "hf" && !files.hf_tokenizer)
    fail_usage("--bpe hf needs --hf-tokenizer, a tokenizer.json or the folder that has it");
  if (gpt2 && files.bpe != "gpt2")
    fail_usage("--gpt2-encoder-json and --gpt2-vocab-bpe need --bpe gpt2");
  if (files.hf_tokenizer && files.bpe != "hf") fail_usage("--hf-tokenizer needs --bpe hf");
}

void validate_options(const BpeFlags& options) {
  if (options.action == "train") return;
  const bool gpt2 = options.gpt2_encoder_json || options.gpt2_vocab_bpe;
  if (gpt2 == options.hf_tokenizer.has_value()) {
    fail_usage(
        "evomoe bpe {} needs --gpt2-encoder-json and --gpt2-vocab-bpe (`evomoe bpe train` makes "
        "both), or --hf-tokenizer",
        options.action);
  }
  validate_options(options.files());
}

}  // namespace evomoe
