#include "evomoe/data/preprocess_options.h"

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/legacy/legacy_flags.h"

namespace evomoe {

void PreprocessOptions::describe(OptionTable& table) {
  table
      .add("source-lang", &source_lang,
           "Language of the source: the text is in FILE.LANG. Not given (with --only-source): one "
           "text without a language.")
      .alias("s")
      .metavar("LANG");
  table.add("target-lang", &target_lang, "Language of the target.").alias("t").metavar("LANG");
  table.add("only-source", &only_source,
            "Text of one language; with --source-lang: sources without targets, to be translated.");
  table
      .add("examples", &examples,
           "Prompts with answers, for --task supervised_finetuning. jsonl: each line of FILE is an "
           "object with prompt and answer (or completion, response), or with messages. pairs: line "
           "n of FILE.answer answers line n of FILE.prompt.")
      .choices({"jsonl", "pairs"});
  table
      .add("trainpref", &trainpref,
           "Training text: a file (plain text, .jsonl, .parquet, .arrow, .feather; text and JSON "
           "lines also as .gz or .zst; a Megatron dataset's .idx), a pattern in quotes "
           "('news/*.jsonl.zst'), or a folder; further ones as a,b,c become train1, train2, ...")
      .metavar("FILE");
  table.add("validpref", &validpref, "Validation text; further files become valid1, valid2, ...")
      .metavar("FILE");
  table.add("testpref", &testpref, "Test text; further files become test1, test2, ...")
      .metavar("FILE");
  table.add("destdir", &destdir, "Folder to make.").metavar("FOLDER");
  table.add("srcdict", &srcdict, "Dictionary to use instead of making one.").metavar("FILE");
  table.add("tgtdict", &tgtdict, "The same of the target.").metavar("FILE");
  table.add("joined-dictionary", &joined_dictionary,
            "One dictionary for both languages, as shared embeddings need it; --nwordssrc and "
            "--thresholdsrc apply.");
  table.add("thresholdsrc", &thresholdsrc, "Symbols rarer than this become <unk>.").at_least(0);
  table.add("thresholdtgt", &thresholdtgt, "The same of the target.").at_least(0);
  table.add("nwordssrc", &nwordssrc, "Most symbols of the dictionary; -1: all.").at_least(-1);
  table.add("nwordstgt", &nwordstgt, "The same of the target.").at_least(-1);
  table.add("padding-factor", &padding_factor, "The dictionary's size is a multiple of this.")
      .range(1, 1 << 16);
  table.add("dict-only", &dict_only, "Makes the dictionaries alone.");
  table.add("workers", &workers, "Threads; the result does not depend on it.").range(1, 1024);
  BpeFiles::describe(table);
  table.add("keep-whitespace", &keep_whitespace,
            "With --bpe: encodes the white space at both ends of lines too (the indentation of "
            "source code); not given: lines are stripped, as fairseq's encoder does.");
  CorpusOptions::describe(table);
  table.add("document-lines", &document_lines,
            "Each line of a document that is not empty is an item, and an empty item follows the "
            "document, for --sample-break-mode complete_doc; not given: a document is an item.");
  table
      .add("output-format", &output_format,
           "fairseq: what evomoe train reads. megatron: Megatron's indexed datasets, of the BPE's "
           "own token numbers, a document each item.")
      .choices({"fairseq", "megatron"});
  table
      .add(
          "megatron-eod", &megatron_eod,
          "Token that ends a document in Megatron datasets: </s> when one is read, and written for "
          "it; not given: they have none.")
      .at_least(0)
      .metavar("ID");
  table.example(
      "evomoe preprocess --only-source --trainpref train.txt --validpref valid.txt --destdir "
      "data-bin",
      "words between spaces");
  table.example(
      "evomoe preprocess --only-source --bpe gpt2 --gpt2-encoder-json bpe/encoder.json "
      "--gpt2-vocab-bpe bpe/vocab.bpe "
      "--trainpref train.txt --validpref valid.txt --destdir data-bin",
      "raw text through a BPE");
  table.example(
      "evomoe preprocess --only-source --bpe gpt2 --gpt2-encoder-json bpe/encoder.json "
      "--gpt2-vocab-bpe bpe/vocab.bpe --trainpref corpus/ --validpref valid.parquet --text-column "
      "content --on-bad-row skip --destdir data-bin",
      "documents: all files of a folder, and a Parquet file");
  table.example(
      "evomoe preprocess -s de -t en --joined-dictionary --trainpref train --validpref valid "
      "--testpref test --destdir data-bin",
      "pairs of sentences: train.de, train.en, ...");
  table.example(
      "evomoe preprocess --examples jsonl --srcdict runs/lm/dict.txt --bpe gpt2 "
      "--gpt2-encoder-json runs/lm/encoder.json --gpt2-vocab-bpe runs/lm/vocab.bpe --trainpref "
      "train.jsonl --validpref valid.jsonl --destdir examples-bin",
      "prompts with answers, to fine-tune the language model of the run runs/lm");
  add_legacy_flags(table, "preprocess");
}

void validate_options(const PreprocessOptions& options) {
  validate_options(static_cast<const BpeFiles&>(options));
  const bool pair = options.source_lang && options.target_lang && !options.only_source;
  if (options.target_lang && !options.source_lang) {
    fail_usage("--target-lang {} is given without --source-lang; give both", *options.target_lang);
  }
  if (options.examples && (options.source_lang || options.target_lang || options.only_source)) {
    fail_usage(
        "--examples {} has prompts and answers, which are no languages; leave --source-lang, "
        "--target-lang and --only-source out",
        *options.examples);
  }
  if (!pair && !options.only_source && !options.examples) {
    fail_usage(
        "evomoe preprocess: give --source-lang and --target-lang for pairs of sentences, "
        "--only-source for text of one language, or --examples for prompts with answers");
  }
  const bool documents = !pair && !options.examples && !options.source_lang;
  if (!documents && (options.document_lines || options.writes_megatron() || options.megatron_eod ||
                     options.text_column != PreprocessOptions().text_column)) {
    fail_usage(
        "--text-column, --document-lines, --output-format megatron and --megatron-eod are for text "
        "of one language; leave them out of pairs of languages and of examples");
  }
  if (options.skips_bad_rows() && (options.source_lang || options.examples == "pairs")) {
    fail_usage(
        "--on-bad-row skip is not for pairs of files: line n of one belongs to line n of the "
        "other; "
        "mend the line, or take it out of both");
  }
  for (const auto& lang : {options.source_lang, options.target_lang}) {
    if (lang && (lang->empty() || lang->find_first_of("-./") != std::string::npos)) {
      fail_usage(
          "language `{}`: it becomes a part of file names such as train.de-en.de; use a name "
          "without `-`, `.` and `/`",
          *lang);
    }
  }
  if (!pair && (options.tgtdict || options.joined_dictionary || options.thresholdtgt != 0 ||
                options.nwordstgt != -1)) {
    fail_usage(
        "--tgtdict, --joined-dictionary, --thresholdtgt and --nwordstgt are for pairs of "
        "sentences; leave them out, or give --source-lang and --target-lang without --only-source");
  }
  const bool joined_given = options.joined_dictionary && (options.srcdict || options.tgtdict);
  if (options.joined_dictionary && options.srcdict && options.tgtdict) {
    fail_usage("--joined-dictionary means one dictionary; give --srcdict or --tgtdict, not both");
  }
  if (!options.trainpref && !options.srcdict && !joined_given) {
    fail_usage(
        "neither --trainpref nor --srcdict is given: there is nothing to make a dictionary from");
  }
  if (pair && !options.trainpref && !options.tgtdict && !joined_given) {
    fail_usage(
        "neither --trainpref nor --tgtdict is given: there is nothing to make the target's "
        "dictionary from");
  }
  if (!options.trainpref && !options.validpref && !options.testpref) {
    fail_usage(
        "none of --trainpref, --validpref and --testpref is given: there is no text to convert");
  }
}

}  // namespace evomoe
