#include "evomoe/text/bpe_options.h"

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"

namespace evomoe {

void BpeFiles::describe(OptionTable& table) {
  table.add("bpe", &bpe, "How text becomes symbols; not given: it is split at spaces.")
      .choices({"gpt2"});
  table.add("gpt2-encoder-json", &gpt2_encoder_json, "encoder.json of the BPE.").metavar("FILE");
  table.add("gpt2-vocab-bpe", &gpt2_vocab_bpe, "vocab.bpe of the BPE.").metavar("FILE");
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
  table.add("workers", &workers, "train, encode: threads; the result does not depend on it.")
      .range(1, 1024);
  table.example("evomoe bpe train corpus/ --vocab-size 8192 --destdir bpe", "learn a BPE");
  table.example(
      "evomoe bpe encode book.txt --gpt2-encoder-json bpe/encoder.json --gpt2-vocab-bpe "
      "bpe/vocab.bpe --output book.bpe",
      "use it");
}

void validate_options(const BpeFiles& files) {
  const bool both = files.gpt2_encoder_json && files.gpt2_vocab_bpe;
  if (files.bpe && !both) {
    fail_usage(
        "--bpe {} needs --gpt2-encoder-json and --gpt2-vocab-bpe (`evomoe bpe train` makes both)",
        *files.bpe);
  }
  if (!files.bpe && (files.gpt2_encoder_json || files.gpt2_vocab_bpe)) {
    fail_usage("--gpt2-encoder-json and --gpt2-vocab-bpe need --bpe gpt2");
  }
}

void validate_options(const BpeFlags& options) {
  const bool both = options.gpt2_encoder_json && options.gpt2_vocab_bpe;
  if (options.action != "train" && !both) {
    fail_usage(
        "evomoe bpe {} needs --gpt2-encoder-json and --gpt2-vocab-bpe (`evomoe bpe train` makes "
        "both)",
        options.action);
  }
}

}  // namespace evomoe
