#include "evomoe/hub/hub_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/text/bpe_folder.h"
#include "evomoe/text/tokenizer_rules.h"
#include "tests/testing/learn_bpe.h"
#include "tests/testing/paths.h"
#include "tests/testing/small_tokenizer.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// A run folder with a tokenizer that has a special token `<x>`, 256.
class HubTokenizer : public ::testing::Test {
 protected:
  HubTokenizer() {
    auto tokenizer = testing::small_tokenizer();
    tokenizer["added_tokens"].push_back({{"id", 256}, {"content", "<x>"}, {"special", true}});
    testing::write_text(run_ / "tokenizer.json", tokenizer.dump());
  }
  std::vector<fs::path> exported(const Dictionary& dictionary, const ByteBpe& bpe) {
    const HubTextExport text{.run = run_.path(),
                             .dictionary = dictionary,
                             .bpe = &bpe,
                             .rows = hub_rows(dictionary, &bpe),
                             .positions = 16};
    config_ = {{"model_type", "llama"}, {"vocab_size", dictionary.size()}};
    return export_hub_text(text, folder_.path(), config_);
  }

  testing::TemporaryFolder run_, folder_;
  nlohmann::ordered_json config_;
};

TEST_F(HubTokenizer, OfAModelOfOursReadsTextAsWeDo) {
  const auto expect_same = [&](const ByteBpe& bpe) {
    Dictionary dictionary;
    for (int64_t id = 0; id < bpe.size(); ++id) dictionary.add(std::to_string(id));
    exported(dictionary, bpe);
    const auto theirs = bpe_in(folder_.path());
    for (const auto* text : {"a<x>b", "<s> <pad></s> <unk>", "<x><s>\n<x>"})
      EXPECT_EQ(theirs->encode(text), bpe.encode(text)) << text;
    EXPECT_THAT(theirs->rules()->at_start, ::testing::ElementsAre(bpe.size() + Dictionary::kEos));
    EXPECT_EQ(config_.at("eos_token_id"), bpe.size() + Dictionary::kEos);
  };
  testing::write_text(folder_ / "chat_template.jinja", "{{of another model}}");
  expect_same(testing::learn_bpe("ab ab", 258));
  EXPECT_FALSE(fs::exists(folder_ / "chat_template.jinja"));
  for (const bool as_text : {false, true}) {
    testing::write_text(run_ / "tokenizer_config.json",
                        json({{"split_special_tokens", as_text}}).dump());
    const auto bpe = bpe_in(run_.path());
    EXPECT_EQ(bpe->encode("<x>").size(), as_text ? 3U : 1U);
    expect_same(*bpe);
  }
}

TEST_F(HubTokenizer, OfAModelOfTheirsGoesBackAsItCame) {
  testing::write_text(run_ / "generation_config.json", "{\"eos_token_id\":256}");
  testing::write_text(run_ / "chat_template.jinja", "{{messages}}");
  const auto bpe = bpe_in(run_.path());
  Dictionary dictionary;
  for (int64_t id = 4; id < bpe->size(); ++id) dictionary.add(std::to_string(id));
  dictionary.set_special_ids({0, 1, 2, 3});
  const auto files = exported(dictionary, *bpe);
  EXPECT_THAT(files, ::testing::UnorderedElementsAre(folder_ / "tokenizer.json",
                                                     folder_ / "generation_config.json",
                                                     folder_ / "chat_template.jinja"));
  for (const auto& file : files)
    EXPECT_EQ(testing::read_text(file), testing::read_text(run_ / file.filename().string()));
  EXPECT_EQ(config_.at("eos_token_id"), 256);
  EXPECT_TRUE(config_.at("bos_token_id").is_null());
  // Where it had none, what the ids mean is ours to say.
  fs::remove(run_ / "generation_config.json");
  exported(dictionary, *bpe);
  EXPECT_EQ(testing::read_json(folder_ / "generation_config.json").at("eos_token_id"), 2);
}

}  // namespace
}  // namespace evomoe
