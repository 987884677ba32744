#include "evomoe/report/log_line.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace evomoe {
namespace {

TEST(RoundPython, RoundsTheExactBinaryValueTiesToEven) {
  EXPECT_EQ(round_python(0.5, 0), 0.0);
  EXPECT_EQ(round_python(1.5, 0), 2.0);
  EXPECT_EQ(round_python(2.5, 0), 2.0);
  EXPECT_EQ(round_python(2.675, 2), 2.67) << "2.675 is stored as 2.67499999...";
  EXPECT_EQ(round_python(1.005, 2), 1.0);
  EXPECT_EQ(round_python(0.125, 2), 0.12);
  EXPECT_EQ(round_python(0.375, 2), 0.38);
  EXPECT_EQ(round_python(-2.5, 0), -2.0);
  EXPECT_EQ(round_python(1e300, 3), 1e300);
  EXPECT_TRUE(std::isinf(round_python(std::numeric_limits<double>::infinity(), 2)));
}

TEST(FormatG, PrintsAsPython) {
  EXPECT_EQ(format_g(2922.0), "2922");
  EXPECT_EQ(format_g(1.367), "1.367");
  EXPECT_EQ(format_g(2.34739123), "2.34739");
  EXPECT_EQ(format_g(0.0), "0");
  EXPECT_EQ(format_g(1e-5), "1e-05");
  EXPECT_EQ(format_g(1234567), "1.23457e+06");
  EXPECT_EQ(format_g(std::numeric_limits<double>::infinity()), "inf");
  EXPECT_EQ(format_g(-std::numeric_limits<double>::quiet_NaN()), "nan");
}

LogLine sample() {
  LogLine line(1, 0.47619);
  line.add("lr", 0.002, 300);
  line.add("loss", 9.28449, 10, 3);
  line.add("moe_gate_loss", 8.0, 10, 8);
  line.add("ppl", 623.4399, 20, 2);
  line.add("wps", 1771.84, 90, 1);
  line.add("num_updates", 10, 200);
  return line;
}

TEST(LogLine, PrintsTheReferencesJson) {
  EXPECT_EQ(
      sample().json_text(),
      R"({"epoch": 1, "update": 0.476, "loss": "9.284", "moe_gate_loss": "8", "ppl": "623.44", "wps": "1771.8", )"
      R"("num_updates": "10", "lr": "0.002"})");
}

TEST(LogLine, APrefixGoesBeforeAllKeysButTheEpoch) {
  LogLine line(2);
  line.add("loss", 8.5354, 10, 3);
  line.add("best_loss", 8.5, 100000, 3);
  EXPECT_EQ(line.json_text("valid_"),
            R"({"epoch": 2, "valid_loss": "8.535", "valid_best_loss": "8.5"})");
}

TEST(LogLine, AddingAKeyAgainReplacesItInItsPlace) {
  LogLine line(1);
  line.add("a", 1, 10);
  line.add("b", 2, 10);
  line.add("a", 3, 10);
  EXPECT_EQ(line.json_text(), R"({"epoch": 1, "a": "3", "b": "2"})");
}

TEST(LogLine, DataComesLastAndOnlyInJson) {
  auto line = sample();
  line.add_data("routers", {{{"layer", 1}, {"load_max", 0.5}}, nullptr});
  EXPECT_NE(
      line.json_text().find(R"("lr": "0.002", "routers": [{"layer": 1, "load_max": 0.5}, null]})"),
      std::string::npos)
      << line.json_text();
  EXPECT_EQ(line.simple_text(10, 21).find("routers"), std::string::npos);
}

TEST(LogLine, HasTheSameKeysWithNumbers) {
  auto line = sample();
  line.add("gnorm", std::numeric_limits<double>::infinity(), 400, 3);
  line.add("updates", 1234567, 500);
  line.add_data("elapsed", 1.5);
  EXPECT_EQ(
      python_json(line.to_numbers("train_")),
      R"({"epoch": 1, "update": 0.476, "train_loss": 9.284, "train_moe_gate_loss": 8.0, )"
      R"("train_ppl": 623.44, "train_wps": 1771.8, "train_num_updates": 10.0, "train_lr": 0.002, )"
      R"("train_gnorm": null, "train_updates": 1234567.0, "train_elapsed": 1.5})");
  const auto keys = [](const nlohmann::ordered_json& record) {
    std::vector<std::string> names;
    for (const auto& [key, value] : record.items()) names.push_back(key);
    return names;
  };
  const auto strings = keys(line.to_json()), numbers = keys(line.to_numbers());
  EXPECT_EQ(strings, numbers);
}

TEST(LogLine, ZerosOfSomeKeysCanBeLeftOut) {
  auto line = sample();
  line.add("overflow", 0.0001, 10, 3);
  line.add("clip", 0, 500, 1);
  const auto shown = line.without_zeros({"overflow", "moe_gate_loss", "missing"});
  EXPECT_EQ(shown.bar_text(),
            "epoch 001 | loss 9.284 | moe_gate_loss 8 | ppl 623.44 | wps 1771.8 | num_updates 10 | "
            "lr 0.002 | clip 0")
      << "as it is shown: rounded";
}

TEST(LogLine, ATextValueIsInTheTextFormsAlone) {
  auto line = sample();
  const auto before = line.json_text();
  line.add_text("max_vio", 1.23456, 15, 2);
  EXPECT_EQ(line.json_text(), before);
  EXPECT_FALSE(line.to_numbers().contains("max_vio"));
  EXPECT_NE(line.simple_text(10, 21).find("moe_gate_loss=8, max_vio=1.23, ppl=623.44"),
            std::string::npos)
      << line.simple_text(10, 21);
}

TEST(LogLine, HasTheTextFormsOfFairseq) {
  LogLine line(1, 0.5);
  line.add("loss", 9.284, 10, 3);
  line.add("ppl", 623.44, 20, 2);
  EXPECT_EQ(line.simple_text(10, 21), "epoch 001:     10 / 21 loss=9.284, ppl=623.44");
  EXPECT_EQ(line.bar_text(), "epoch 001 | loss 9.284 | ppl 623.44");
  EXPECT_EQ(line.bar_text("valid on 'valid' subset"),
            "epoch 001 | valid on 'valid' subset | loss 9.284 | ppl 623.44");
}

TEST(LogLine, TheJsonIsValid) {
  auto line = sample();
  line.add_data("quote", "a \"b\"\n");
  const auto parsed = nlohmann::ordered_json::parse(line.json_text());
  EXPECT_EQ(parsed, line.to_json());
}

}  // namespace
}  // namespace evomoe
