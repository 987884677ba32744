#include "evomoe/hub/hub_vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "evomoe/base/error.h"
#include "tests/testing/learn_bpe.h"
#include "tests/testing/paths.h"
#include "tests/testing/small_tokenizer.h"

namespace evomoe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const nlohmann::json kNothing = nlohmann::json::object();

/// A folder with config.json and a tokenizer of 256 bytes, whose ids are bytes, and added tokens.
class HubVocabulary : public ::testing::Test {
 protected:
  void write(const nlohmann::json& config, const nlohmann::json& tokenizer_config,
             const std::vector<std::string>& added) {
    auto tokenizer = testing::small_tokenizer();
    for (size_t i = 0; i < added.size(); ++i) {
      tokenizer["added_tokens"].push_back(
          {{"id", 256 + i}, {"content", added[i]}, {"special", true}});
    }
    testing::write_text(folder_ / "tokenizer.json", tokenizer.dump());
    testing::write_text(folder_ / "config.json", config.dump());
    testing::write_text(folder_ / "tokenizer_config.json", tokenizer_config.dump());
  }
  Dictionary dictionary(int64_t vocab_size) const {
    const auto tokenizer = ByteBpe::load_tokenizer(folder_ / "tokenizer.json");
    return hub_dictionary(folder_.path(), vocab_size, &tokenizer);
  }
  Dictionary::SpecialIds ids(int64_t vocab_size) const {
    return dictionary(vocab_size).special_ids().value();
  }

  testing::TemporaryFolder folder_;
};

TEST_F(HubVocabulary, HasTheModelsOwnSpecials) {
  write({{"bos_token_id", 256}, {"eos_token_id", {258, 257}}},
        {{"eos_token", {{"content", "</s>"}}}, {"pad_token", "<pad>"}, {"unk_token", "<unk>"}},
        {"<s>", "</s>", "<turn>", "<pad>", "<unk>"});
  EXPECT_THAT(ids(261), ElementsAre(256, 259, 257, 260));
  const auto made = dictionary(261);
  EXPECT_EQ(made.size(), 261);
  EXPECT_EQ(made.symbol(4), "0");
  EXPECT_EQ(made.symbol(260), "258");
  EXPECT_EQ(made.index("257"), Dictionary::kEos);
  const auto rows = hub_rows(made, nullptr);
  EXPECT_EQ(rows.ours[0], 4);
  EXPECT_EQ(rows.ours[256], Dictionary::kBos);
  EXPECT_EQ(rows.ours[258], 260);
}

TEST_F(HubVocabulary, GivesWhatAModelLacksRowsThatNoTextHas) {
  // The start is the end, and so is padding: <s>, <pad> and <unk> are to be found.
  const nlohmann::json config = {
      {"bos_token_id", 256}, {"eos_token_id", 256}, {"pad_token_id", 256}};
  write(config, kNothing, {"<end>"});
  EXPECT_THAT(ids(257), ElementsAre(0xC0, 0xC1, 256, 0xF5)) << "bytes that are never in UTF-8";
  EXPECT_THAT(ids(259), ElementsAre(257, 258, 256, 0xC0)) << "rows beyond the tokenizer";
  write(config, kNothing, {"<end>", "<|Reserved_1|>", "<turn>"});
  EXPECT_THAT(ids(259), ElementsAre(257, 0xC0, 256, 0xC1)) << "reserved tokens";
  // As SmolLM2: no such bytes, but special tokens of the training data.
  write({{"eos_token_id", 256}}, {{"chat_template", "{{<turn>}}"}},
        {"<end>", "<repo>", "<turn>", "<file>", "<stars>"});
  auto tokenizer = testing::read_json(folder_ / "tokenizer.json");
  auto& vocab = tokenizer["model"]["vocab"];
  for (auto token = vocab.begin(); token != vocab.end();) {
    const auto byte = token.value().get<int>();
    const bool never = byte == 0xC0 || byte == 0xC1 || byte >= 0xF5;
    token = never ? vocab.erase(token) : std::next(token);
  }
  for (int byte = 0xF5; byte < 256; ++byte) vocab["x" + std::to_string(byte)] = byte;
  vocab["x1"] = 0xC0;
  vocab["x2"] = 0xC1;
  testing::write_text(folder_ / "tokenizer.json", tokenizer.dump());
  EXPECT_THAT(ids(261), ElementsAre(260, 259, 256, 257));
  write({{"eos_token_id", -1}}, kNothing, {"<end>"});
  EXPECT_THAT(ids(257), ElementsAre(0xC0, 0xC1, 0xF5, 0xF6)) << "-1 is none";
}

TEST_F(HubVocabulary, WhatDoesNotBelongTogetherIsNamed) {
  write({{"eos_token_id", 256}}, kNothing, {"<end>"});
  EXPECT_THAT([&] { dictionary(256); },
              ThrowsMessage<Error>(HasSubstr("has 257 tokens, and the model 256 rows")));
  write({{"eos_token_id", 300}}, kNothing, {"<end>"});
  EXPECT_THAT([&] { dictionary(257); }, ThrowsMessage<Error>(HasSubstr("`eos_token_id` is 300")));
  write({{"eos_token_id", "x"}}, kNothing, {"<end>"});
  EXPECT_THAT([&] { dictionary(257); }, ThrowsMessage<Error>(HasSubstr("`eos_token_id` is \"x\"")));
  Dictionary gap;
  gap.add("9");
  gap.set_special_ids({0, 1, 2, 3});
  EXPECT_THAT([&] { hub_rows(gap, nullptr); },
              ThrowsMessage<Error>(HasSubstr("`9` is no id of 0 to 4")));
}

TEST_F(HubVocabulary, RowsGoThereAndBack) {
  Dictionary dictionary;
  dictionary.add("0");
  dictionary.add("3");
  dictionary.set_special_ids({4, 1, 5, 2});
  const auto rows = hub_rows(dictionary, nullptr);
  const auto theirs = torch::arange(6.0).unsqueeze(1);
  auto ours = theirs.clone();
  to_our_rows(ours, rows);
  EXPECT_TRUE(torch::equal(ours.squeeze(1), torch::tensor({4.0, 1.0, 5.0, 2.0, 0.0, 3.0})));
  EXPECT_TRUE(torch::equal(in_their_rows(ours, rows), theirs));
}

TEST_F(HubVocabulary, OfOursHasTheIdsOfItsBpe) {
  const auto bpe = testing::learn_bpe("ab ab ab", 258);
  Dictionary dictionary;
  dictionary.add("1");
  dictionary.add("0");
  dictionary.add("madeupword0000");
  const auto rows = hub_rows(dictionary, &bpe);
  ASSERT_EQ(rows.ours.size(), 258U + 4 + 1);
  EXPECT_EQ(rows.ours[0], 5);
  EXPECT_EQ(rows.ours[1], 4);
  EXPECT_EQ(rows.ours[2], Dictionary::kUnk) << "the dictionary lacks it";
  EXPECT_THAT(rows.special_id, ElementsAre(258, 259, 260, 261));
  EXPECT_EQ(rows.ours[260], Dictionary::kEos);
  EXPECT_EQ(rows.ours[262], 6);
}

}  // namespace
}  // namespace evomoe
