// Tokenizers of Hugging Face: the ids are those of the package `tokenizers` (EVOMOE_PYTHON), whose
// tokenizers tokenizer_files.py trains with the settings of the kinds that are read.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "evomoe/base/error.h"
#include "evomoe/text/bpe_folder.h"
#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/tokenizer_pattern.h"
#include "evomoe/text/tokenizer_rules.h"
#include "tests/testing/learn_bpe.h"
#include "tests/testing/paths.h"
#include "tests/testing/small_tokenizer.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr int32_t kAb = 256;

class TokenizersPackage : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const auto python = testing::python().string();
    if (testing::run_command(python + " -c 'import tokenizers'").exit_code != 0) return;
    made_ = new testing::TemporaryFolder;
    const auto script = testing::source_dir() / "tests/text/tokenizer_files.py";
    const auto made = testing::run_command(
        fmt::format("{} {} {}", python, script.string(), made_->path().string()));
    if (made.exit_code != 0) ADD_FAILURE() << made.err;
  }
  static void TearDownTestSuite() {
    delete made_;
    made_ = nullptr;
  }
  void SetUp() override {
    if (made_ == nullptr) {
      GTEST_SKIP() << "no package tokenizers in " << testing::python()
                   << "; EVOMOE_PYTHON names a Python that has it";
    }
  }

  inline static testing::TemporaryFolder* made_ = nullptr;
};

/// Ids as a line of numbers.
std::string numbers(const std::vector<int32_t>& ids) {
  return fmt::format("{}", fmt::join(ids, " "));
}

TEST_F(TokenizersPackage, GivesTheSameIdsToTextsOfManyScripts) {
  const auto texts = testing::read_json(made_->path() / "texts.json");
  int kinds = 0;
  for (const auto& entry : fs::directory_iterator(made_->path())) {
    if (!entry.is_directory()) continue;
    ++kinds;
    SCOPED_TRACE(entry.path().filename());
    const auto bpe = ByteBpe::load_tokenizer(entry.path() / "tokenizer.json");
    std::istringstream expected(testing::read_text(entry.path() / "ids.txt"));
    int differing = 0, same_texts = 0;
    BpeEncoder encoder(bpe);
    for (const auto& each : texts) {
      const auto text = each.get<std::string>();
      std::string line;
      if (!std::getline(expected, line)) break;
      std::vector<int32_t> ids;
      encoder.encode(text, ids);
      if (numbers(ids) == line) {
        ++same_texts;
        continue;
      }
      if (++differing > 2) break;
      std::vector<int32_t> theirs;
      std::istringstream words(line);
      for (int32_t id = 0; words >> id;) theirs.push_back(id);
      size_t same = 0;
      while (same < std::min(ids.size(), theirs.size()) && ids[same] == theirs[same]) ++same;
      const std::vector<int32_t> before(ids.begin(), ids.begin() + static_cast<int64_t>(same));
      ADD_FAILURE() << "after " << same << " ids: ..."
                    << nlohmann::json(bpe.decode(before)).dump(-1, ' ', true).substr(0, 4000)
                    << "\n ours " << (same < ids.size() ? ids[same] : -1) << ", theirs "
                    << (same < theirs.size() ? theirs[same] : -1) << " in " << text.substr(0, 100);
    }
    EXPECT_GT(same_texts, 60);
  }
  EXPECT_GE(kinds, 10);
}

TEST_F(TokenizersPackage, SaysWhatStandsBeforeAText) {
  const auto start = [&](const std::string& kind) {
    return ByteBpe::load_tokenizer(made_->path() / kind / "tokenizer.json").rules()->at_start;
  };
  const auto llama = ByteBpe::load_tokenizer(made_->path() / "llama3/tokenizer.json");
  EXPECT_THAT(start("llama3"), ElementsAre(*llama.token_of("<|begin_of_text|>")));
  EXPECT_THAT(start("roberta"), ::testing::SizeIs(1));
  EXPECT_THAT(start("gpt2"), ::testing::IsEmpty());
}

TEST_F(TokenizersPackage, DecodesToTheText) {
  for (const auto* kind : {"gpt2", "llama3", "smollm2"}) {
    const auto bpe = ByteBpe::load_tokenizer(made_->path() / kind / "tokenizer.json");
    for (const auto* text : {"naïve <|endoftext|> 日本\r\n  x", "\xff\xfe bytes \xc0", ""})
      EXPECT_EQ(bpe.decode(bpe.encode(text)), text) << kind;
  }
}

/// The smallest tokenizer, and `ab`.
nlohmann::json tokenizer_with_ab() {
  auto tokenizer = testing::small_tokenizer();
  tokenizer["model"]["vocab"]["ab"] = kAb;
  tokenizer["model"]["merges"] = nlohmann::json::array({"a b"});
  return tokenizer;
}

class TokenizerJson : public ::testing::Test {
 protected:
  fs::path written(const std::string& text) {
    testing::write_text(folder_ / "tokenizer.json", text);
    return folder_ / "tokenizer.json";
  }
  void expect_refused(const std::string& text, const std::vector<std::string>& words) {
    const auto path = written(text);
    for (const auto& word : words) {
      EXPECT_THAT([&] { ByteBpe::load_tokenizer(path); }, ThrowsMessage<Error>(HasSubstr(word)));
    }
  }

  testing::TemporaryFolder folder_;
};

TEST_F(TokenizerJson, IsFoundInAFolder) {
  written(tokenizer_with_ab().dump());
  EXPECT_THAT(bpe_in(folder_.path())->encode("ab"), ElementsAre(kAb));
  EXPECT_THAT(given_bpe({.bpe = "hf", .hf_tokenizer = folder_.path().string()})->encode("ab"),
              ElementsAre(kAb));
  const testing::TemporaryFolder data;
  copy_bpe({.bpe = "hf", .hf_tokenizer = (folder_ / "tokenizer.json").string()}, data.path());
  EXPECT_THAT(bpe_in(data.path())->encode("ab"), ElementsAre(kAb));
  EXPECT_THAT([&] { given_bpe({.bpe = "hf", .hf_tokenizer = (folder_ / "none").string()}); },
              ThrowsMessage<Error>(HasSubstr("none: No such file")));
  fs::create_directory(folder_ / "empty");
  EXPECT_THAT([&] { given_bpe({.bpe = "hf", .hf_tokenizer = (folder_ / "empty").string()}); },
              ThrowsMessage<Error>(HasSubstr("empty: the folder has no tokenizer.json")));
}

TEST_F(TokenizerJson, WhatGoesWithItIsCopied) {
  auto tokenizer = tokenizer_with_ab();
  tokenizer["added_tokens"] = {{{"id", 257}, {"content", "<x>"}, {"special", true}}};
  const auto path = written(tokenizer.dump());
  for (const bool as_text : {true, false}) {
    testing::write_text(folder_ / "tokenizer_config.json",
                        nlohmann::json({{"split_special_tokens", as_text}}).dump());
    const auto expected = ByteBpe::load_tokenizer(path).encode("<x>");
    EXPECT_EQ(expected.size(), as_text ? 3U : 1U);
    for (const auto& given : {path, folder_.path()}) {
      const testing::TemporaryFolder data, run;
      copy_bpe({.bpe = "hf", .hf_tokenizer = given.string()}, data.path());
      EXPECT_EQ(bpe_in(data.path())->encode("<x>"), expected) << given;
      copy_bpe(data.path(), run.path());
      EXPECT_EQ(bpe_in(run.path())->encode("<x>"), expected) << given;
    }
  }
  // What the next tokenizer lacks is not that of the last one.
  const testing::TemporaryFolder data;
  testing::write_text(data / "tokenizer_config.json", R"({"split_special_tokens": true})");
  fs::remove(folder_ / "tokenizer_config.json");
  copy_bpe({.bpe = "hf", .hf_tokenizer = path.string()}, data.path());
  EXPECT_THAT(bpe_in(data.path())->encode("<x>"), ElementsAre(257));
}

TEST_F(TokenizerJson, AFolderHasOneBpe) {
  fs::create_directory(folder_ / "hf");
  fs::create_directory(folder_ / "gpt2");
  const auto encoder = folder_ / "gpt2/encoder.json", merges = folder_ / "gpt2/vocab.bpe";
  testing::write_text(folder_ / "hf/tokenizer.json", tokenizer_with_ab().dump());
  testing::write_text(folder_ / "hf/chat_template.jinja", "{{messages}}");
  testing::learn_bpe("cd cd", 258).save(encoder, merges);
  const BpeFiles hf = {.bpe = "hf", .hf_tokenizer = (folder_ / "hf").string()};
  const BpeFiles gpt2 = {
      .bpe = "gpt2", .gpt2_encoder_json = encoder.string(), .gpt2_vocab_bpe = merges.string()};
  const auto names = [](const fs::path& folder) {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder))
      found.push_back(entry.path().filename().string());
    return found;
  };
  using ::testing::UnorderedElementsAre;
  const testing::TemporaryFolder data, run;
  testing::write_text(run / "dict.txt", "a 1\n");
  for (int again = 0; again < 2; ++again) {
    copy_bpe(gpt2, data.path());
    copy_bpe(data.path(), run.path());
    EXPECT_THAT(names(data.path()), UnorderedElementsAre("encoder.json", "vocab.bpe"));
    EXPECT_THAT(names(run.path()), UnorderedElementsAre("dict.txt", "encoder.json", "vocab.bpe"));
    copy_bpe(hf, data.path());
    copy_bpe(data.path(), run.path());
    EXPECT_THAT(bpe_in(run.path())->encode("ab"), ElementsAre(kAb));
    EXPECT_THAT(names(run.path()),
                UnorderedElementsAre("dict.txt", "tokenizer.json", "chat_template.jinja"));
  }
  // How the run's model generates is not the BPE's; one that is not whole changes nothing.
  testing::write_text(run / "generation_config.json", "{}");
  copy_bpe(hf, run.path());
  fs::remove(merges);
  EXPECT_THAT([&] { copy_bpe(folder_ / "gpt2", run.path()); },
              ThrowsMessage<Error>(HasSubstr("vocab.bpe: is not there")));
  EXPECT_THAT(names(run.path()),
              UnorderedElementsAre("dict.txt", "tokenizer.json", "chat_template.jinja",
                                   "generation_config.json"));
  copy_bpe(run.path(), run.path());
  copy_bpe(folder_.path(), run.path());
  EXPECT_THAT(bpe_in(run.path())->encode("ab"), ElementsAre(kAb)) << "there was none to copy";
}

TEST_F(TokenizerJson, NamesWhatIsNotRead) {
  const auto whole = tokenizer_with_ab().dump();
  expect_refused(whole.substr(0, whole.size() / 2),
                 {"tokenizer.json: is not a JSON object (at byte ", "copy it again"});
  expect_refused("{}", {"tokenizer.json: is no tokenizer", "save_pretrained"});
  using Change = std::function<void(nlohmann::json&)>;
  const std::vector<std::pair<Change, std::vector<std::string>>> cases = {
      {[](auto& t) { t["model"]["type"] = "WordPiece"; },
       {"its model is \"WordPiece\"", "--bpe none"}},
      {[](auto& t) { t["model"]["type"] = "Unigram"; }, {"its model is \"Unigram\""}},
      {[](auto& t) { t["model"]["byte_fallback"] = true; }, {"`byte_fallback` true"}},
      {[](auto& t) { t["model"]["dropout"] = 0.1; }, {"`dropout` 0.1"}},
      {[](auto& t) { t["model"]["end_of_word_suffix"] = "</w>"; }, {"`end_of_word_suffix`"}},
      {[](auto& t) { t["model"]["unk_token"] = "<unk>"; }, {"`<unk>` is not in the vocabulary"}},
      {[](auto& t) {
         t["model"]["merges"] = {"a b", "ab c"};
       },
       {"merge of `ab` and `c`", "`abc`, which is not in the vocabulary"}},
      {[](auto& t) { t["model"]["merges"] = nlohmann::json::array({"a b c"}); },
       {"\"a b c\" is no pair"}},
      {[](auto& t) { t["model"]["vocab"]["b"] = t["model"]["vocab"]["a"]; }, {"both have id"}},
      {[](auto& t) { t["model"]["vocab"]["b"] = -1; }, {"token `b` has id -1"}},
      {[](auto& t) { t["model"].erase("vocab"); }, {"`vocab` of its model is null"}},
      {[](auto& t) {
         t["normalizer"] = {{"type", "Lowercase"}};
       },
       {"its normalizer is Lowercase"}},
      {[](auto& t) {
         t["pre_tokenizer"] = {{"type", "Metaspace"}};
       },
       {"its pre_tokenizer is Metaspace"}},
      {[](auto& t) { t["pre_tokenizer"] = nullptr; }, {"has no ByteLevel"}},
      {[](auto& t) {
         t["pre_tokenizer"] = {
             {"type", "Split"}, {"pattern", {{"Regex", R"(\h+)"}}}, {"behavior", "Isolated"}};
       },
       {R"(`\h`)"}},
      {[](auto& t) {
         t["pre_tokenizer"] = {
             {"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}};
       },
       {"'(a'"}},
      {[](auto& t) { t["decoder"] = nullptr; }, {"it has no decoder"}},
      {[](auto& t) {
         t["decoder"] = {{"type", "WordPiece"}};
       },
       {"its decoder is WordPiece"}},
      {[](auto& t) {
         t["post_processor"] = {{"type", "Other"}};
       },
       {"its post_processor is Other"}},
      {[](auto& t) { t["something"] = 1; }, {"it has `something` 1"}},
      {[](auto& t) {
         t["added_tokens"] = {{{"id", 257}, {"content", "<x>"}, {"strange", true}}};
       },
       {"added token `<x>` has `strange` true"}},
      {[](auto& t) {
         t["added_tokens"] = {{{"id", 900}, {"content", "<x>"}}};
       },
       {"`<x>` has id 900, and tokenizers would give it 257"}},
      {[](auto& t) {
         t["added_tokens"] = {{{"id", 3}, {"content", "ab"}}};
       },
       {"`ab` has id 3 as an added token, else"}}};
  for (const auto& [change, words] : cases) {
    auto tokenizer = tokenizer_with_ab();
    change(tokenizer);
    expect_refused(tokenizer.dump(), words);
  }
}

TEST(TokenizerPattern, IsTranslatedForIcu) {
  EXPECT_EQ(icu_pattern(R"([^\s\p{L}]+\S\\s\d)"),
            R"([^\p{White_Space}\p{L}]+\P{White_Space}\\s\d)");
  EXPECT_EQ(pattern_of_text("a.é("), R"(a\.é\()");
  EXPECT_THROW(icu_pattern("(?m:a)"), Error);
  EXPECT_NO_THROW(icu_pattern("(?i:a)(?!b)(?<=c)(?:d)"));
}

}  // namespace
}  // namespace evomoe
