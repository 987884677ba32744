// The expected texts are those of sacremoses 0.2.0: MosesDetokenizer(language).detokenize(words).
#include "evomoe/score/moses_detokenizer.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

std::string english(const std::string& line) { return MosesDetokenizer("en")(line); }

TEST(MosesDetokenizer, JoinsPunctuationContractionsAndHyphens) {
  EXPECT_EQ(english("it &apos;s a 5 @-@ fold increase , isn &apos;t it ?"),
            "it's a 5-fold increase, isn't it?");
  EXPECT_EQ(english("don 't '1 5 's 'ß"), "don't '1 5's'ß");
  EXPECT_EQ(english("'s first word"), "'s first word");
  EXPECT_EQ(english("( ( a ) ) . . . ?! b"), "((a))...?! b");
  EXPECT_EQ(english("a @-@ @-@ b @-@ c"), "a-@-@ b-c");
  EXPECT_EQ(english(", a"), ", a");
  EXPECT_EQ(english(""), "");
}

TEST(MosesDetokenizer, PairsQuotationMarks) {
  EXPECT_EQ(english("\" Hello , \" he said ( quietly ) : ' yes ' ."),
            "\"Hello,\" he said (quietly): 'yes'.");
  EXPECT_EQ(english("„ eins “ zwei “ drei „ vier ” fünf"), "„eins“ zwei “drei„ vier ” fünf");
  EXPECT_EQ(english("`` quoted '' and ` this '"), "``quoted ''and `this'");
  EXPECT_EQ(english("’s ' a ' b's ' c"), "’s' a 'b's' c");
  EXPECT_EQ(english("the Jones ' house costs $ 5.00 or € 4 , 20 % less !"),
            "the Jones' house costs $5.00 or €4, 20% less!");
}

TEST(MosesDetokenizer, OpensWhatOpens) {
  EXPECT_EQ(english("¿ Qué ? ¡ Sí ! £ 5 ¥ ( [ { x } ] )"), "¿Qué? ¡Sí! £5 ¥([{x}])");
}

TEST(MosesDetokenizer, UndoesTheTokenizersEscapesOnce) {
  EXPECT_EQ(english("&quot; A &amp; B &quot; &lt; C &gt; &#91; 1 &#93; &#124; D &bar;"),
            "\"A & B\" < C > [1] | D |");
  EXPECT_EQ(english("&amp;lt; &amp;apos;s"), "&lt; &apos;s");
}

TEST(MosesDetokenizer, LeavesTextThatIsJoined) {
  EXPECT_EQ(english("it's already joined , \"done\" ."), "it's already joined, \"done\".");
}

TEST(MosesDetokenizer, JoinsChineseCharactersButNotKoreanWordsOfKorean) {
  EXPECT_EQ(english("你 好 世 界 。 hello 世 a界 中"), "你好世界。 hello 世 a界中");
  EXPECT_EQ(english("안녕 하세요 a ."), "안녕하세요 a.");
  EXPECT_EQ(MosesDetokenizer("ko")("안녕 하세요 세계 ."), "안녕 하세요 세계.");
}

TEST(MosesDetokenizer, HasTheRulesOfOtherLanguages) {
  EXPECT_EQ(MosesDetokenizer("de")("es ist &apos;s und der Hans ' Haus : „ gut “ , ja !"),
            "es ist 's und der Hans 'Haus: „gut“, ja!");
  EXPECT_EQ(MosesDetokenizer("fr")("l &apos;eau , qu' il dit : « oui » ! et 20 % ? d' 5"),
            "l 'eau, qu'il dit : « oui » ! et 20 % ? d' 5");
  EXPECT_EQ(MosesDetokenizer("fr")("l&apos; eau est à l&apos; homme ;"), "l'eau est à l'homme ;");
  EXPECT_EQ(MosesDetokenizer("it")("l&apos; acqua e dell&apos; uomo !"), "l'acqua e dell'uomo!");
  EXPECT_EQ(MosesDetokenizer("ga")("b' fhéidir é'"), "b'fhéidir é'");
}

TEST(MosesDetokenizer, WhatIsNotUtf8IsAWord) { EXPECT_EQ(english("a \xFF' , b"), "a \xFF', b"); }

TEST(MosesDetokenizer, RefusesLanguagesWithoutTheirRules) {
  EXPECT_THROW(MosesDetokenizer("cs"), UsageError);
  EXPECT_THROW(MosesDetokenizer("fi"), UsageError);
}

}  // namespace
}  // namespace evomoe
