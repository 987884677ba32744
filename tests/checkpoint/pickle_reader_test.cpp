#include "evomoe/checkpoint/pickle_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using namespace std::string_literals;

PickleValue read(const std::string& pickle) {
  return read_pickle(pickle, "x.pt",
                     [](const std::string&, torch::ScalarType type, int64_t elements) {
                       EVOMOE_CHECK(elements == 6, "a test's storage has 6 elements");
                       return torch::arange(6).to(type);
                     });
}

std::string text(const std::string& value) {
  return "X"s + static_cast<char>(value.size()) + "\0\0\0"s + value;
}

/// What a tensor of 2 x 3 floats is made of, with `offset`, `rows`, `stride` of its rows.
std::string tensor_data(int offset, int rows, int stride) {
  const auto byte = [](int value) { return "K"s + static_cast<char>(value); };
  return "(("s + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + byte(6) +
         "tQ" + byte(offset) + byte(rows) + byte(3) + "\x86" + byte(stride) + byte(1) + "\x86" +
         "\x89" + "ccollections\nOrderedDict\n)Rt";
}

constexpr auto* kRebuild = "ctorch._utils\n_rebuild_tensor_v2\n";

std::string tensor(int offset, int rows, int stride) {
  return kRebuild + tensor_data(offset, rows, stride) + "R";
}

/// The same with an attribute, as an object of class `type`.
std::string tensor_with_attribute(const std::string& type, int rows = 2) {
  return "ctorch._tensor\n_rebuild_from_type_v2\n("s + kRebuild + "c" + type + "\n" +
         tensor_data(0, rows, 3) + "}" + text("cloned") + "\x88stR";
}

TEST(PickleReader, ReadsPlainData) {
  const auto value = read("\x80\x02}("s + text("i") + "\x8a\x02\xff\x7f" + text("negative") +
                          "\x8a\x01\xff" + text("d") + "G\x3f\xf8\0\0\0\0\0\0"s + text("list") +
                          "](K\x01NK\x03" + "e" + text("yes") + "\x88" + "u.");
  EXPECT_EQ(*value.find("i")->get_if<int64_t>(), 32767);
  EXPECT_EQ(*value.find("negative")->get_if<int64_t>(), -1);
  EXPECT_EQ(*value.find("d")->get_if<double>(), 1.5);
  EXPECT_EQ(value.find("list")->get_if<PickleValue::List>()->size(), 3);
  EXPECT_TRUE(*value.find("yes")->get_if<bool>());
  EXPECT_EQ(value.find("no"), nullptr);
}

TEST(PickleReader, ReadsNamespaceAsADict) {
  const auto value = read(
      "\x80\x02"
      "cargparse\nNamespace\n)\x81}"s +
      text("lr") + "K\x05sb.");
  EXPECT_EQ(*value.find("lr")->get_if<int64_t>(), 5);
}

TEST(PickleReader, ReadsTensorsAndTheirStrides) {
  const auto value = read("\x80\x02"s + tensor(0, 2, 3) + ".");
  const auto expected = torch::arange(6).to(torch::kFloat).view({2, 3});
  EXPECT_TRUE(value.get_if<torch::Tensor>()->equal(expected));
}

TEST(PickleReader, ReadsTensorsWithAttributesAndRefusesOtherClassesOfTensors) {
  const auto value = read("\x80\x02"s + tensor_with_attribute("torch\nTensor") + ".");
  const auto expected = torch::arange(6).to(torch::kFloat).view({2, 3});
  EXPECT_TRUE(value.get_if<torch::Tensor>()->equal(expected));
  EXPECT_THAT([&] { read("\x80\x02"s + tensor_with_attribute("torch\nTensor", 3) + "."); },
              ThrowsMessage<Error>(HasSubstr("reaches beyond its storage")));
  EXPECT_THAT([&] { read("\x80\x02"s + tensor_with_attribute("some\nTensor") + "."); },
              ThrowsMessage<Error>(HasSubstr("some.Tensor is not plain data")));
  EXPECT_THAT([&] { read("\x80\x02"s + tensor_with_attribute("torch\nSize") + "."); },
              ThrowsMessage<Error>(HasSubstr("a tensor of an unknown kind")));
}

TEST(PickleReader, ReadsShapesAsLists) {
  const auto value = read(
      "\x80\x02"
      "ctorch\nSize\nK\x02K\x03\x86\x85R.");
  ASSERT_NE(value.get_if<PickleValue::List>(), nullptr);
  EXPECT_EQ(*value.get_if<PickleValue::List>()->at(1).get_if<int64_t>(), 3);
}

TEST(PickleReader, RefusesTensorsThatReachBeyondTheirStorage) {
  for (const auto& bad : {tensor(1, 2, 3), tensor(0, 3, 3), tensor(0, 2, 4), tensor(0, 9, 0)}) {
    EXPECT_THAT([&] { read("\x80\x02"s + bad + "."); },
                ThrowsMessage<Error>(HasSubstr("reaches beyond its storage")));
  }
}

TEST(PickleReader, RefusesCodeByNameAndRunsNothing) {
  for (const std::string name :
       {"os\nsystem", "posix\nsystem", "builtins\neval", "torch.storage\n_load_from_bytes",
        "fairseq.meters\nAverageMeter"}) {
    auto shown = name;
    shown[shown.find('\n')] = '.';
    EXPECT_THAT(
        [&] {
          read(
              "\x80\x02"
              "c"s +
              name + "\n" + text("exit 1") + "\x85R.");
        },
        ThrowsMessage<Error>(HasSubstr(shown + " is not plain data; nothing was executed")));
  }
  EXPECT_THAT([&] { read("\x80\x04"s + text("os") + text("system") + "\x93."); },
              ThrowsMessage<Error>(HasSubstr("os.system is not plain data")));
}

TEST(PickleReader, RefusesOtherOpcodes) {
  // INST, OBJ, EXT1, NEWOBJ_EX, PERSID
  for (const char opcode : "io\x82\x92P"s) {
    EXPECT_THAT([&] { read("\x80\x02"s + opcode + "."); },
                ThrowsMessage<Error>(HasSubstr("is not one of plain data")));
  }
}

TEST(PickleReader, RefusesDataThatContainThemselvesOrAreNestedTooDeep) {
  EXPECT_THAT([] { read("\x80\x02]q\0h\0a."s); },
              ThrowsMessage<Error>(HasSubstr("contains itself")));
  const auto nested = std::string(100'000, ']') + std::string(99'999, 'a');
  EXPECT_THAT([&] { read("\x80\x02"s + nested + "."); },
              ThrowsMessage<Error>(HasSubstr("nested deeper")));
  // 2^60 values out of 60 lists of twice the one before.
  std::string doubled = "\x80\x02]";
  for (int i = 0; i < 60; ++i) doubled += "2\x86";
  EXPECT_THAT([&] { read(doubled + "."); }, ThrowsMessage<Error>(HasSubstr("more than")));
}

TEST(PickleReader, RefusesLengthsBeyondTheEnd) {
  for (const auto& bad : {"X\xff\xff\xff\xff"s, "\x8d\xff\xff\xff\xff\xff\xff\xff\xff"s, "U\x09"s,
                          "cos"s, ""s, "K"s, "."s, "a."s, "h\x07."s, "t."s, "R."s}) {
    EXPECT_THROW(read("\x80\x02"s + bad), Error);
  }
}

TEST(PickleReader, AnyChangedOrCutByteGivesDataOrAnError) {
  const auto whole = "\x80\x02}q\1("s + text("t") + tensor(0, 2, 3) + text("a") +
                     tensor_with_attribute("torch\nTensor") + text("n") +
                     "cargparse\nNamespace\n)\x81}" + text("lr") + "K\x05sb" + text("l") +
                     "](K\1NG\0\0\0\0\0\0\0\0\x8a\1\xff"
                     "eu."s;
  EXPECT_NO_THROW(read(whole));
  std::mt19937 random(1);
  int errors = 0;
  for (int trial = 0; trial < 20'000; ++trial) {
    auto changed = whole;
    for (size_t i = 0, count = 1 + random() % 3; i < count; ++i)
      changed[random() % changed.size()] = static_cast<char>(random());
    if (trial % 4 == 0) changed.resize(random() % changed.size());
    try {
      read(changed);
    } catch (const Error&) {
      ++errors;
    }
  }
  EXPECT_GT(errors, 10'000);
}

}  // namespace
}  // namespace evomoe
