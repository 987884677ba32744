#include "evomoe/fairseq/pickle_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <random>
#include <utility>
#include <vector>

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

std::string opaque_type(const std::string& pickle) {
  return read(pickle).get_if<OpaqueValue>()->type;
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

TEST(PickleReader, ReadsTensorsWithAttributesAndSkipsOtherClassesOfTensors) {
  const auto value = read("\x80\x02"s + tensor_with_attribute("torch\nTensor") + ".");
  const auto expected = torch::arange(6).to(torch::kFloat).view({2, 3});
  EXPECT_TRUE(value.get_if<torch::Tensor>()->equal(expected));
  EXPECT_THAT([&] { read("\x80\x02"s + tensor_with_attribute("torch\nTensor", 3) + "."); },
              ThrowsMessage<Error>(HasSubstr("reaches beyond its storage")));
  EXPECT_EQ(opaque_type("\x80\x02"s + tensor_with_attribute("some\nTensor") + "."), "some.Tensor");
  EXPECT_EQ(opaque_type("\x80\x02"s + tensor_with_attribute("torch\nSize") + "."), "torch.Size");
}

TEST(PickleReader, ReadsShapesAsLists) {
  const auto value = read(
      "\x80\x02"
      "ctorch\nSize\nK\x02K\x03\x86\x85R.");
  ASSERT_NE(value.get_if<PickleValue::List>(), nullptr);
  EXPECT_EQ(*value.get_if<PickleValue::List>()->at(1).get_if<int64_t>(), 3);
}

TEST(PickleReader, ReadsExpandedOverlappingAndEmptyTensors) {
  const auto read_tensor = [](const std::string& made) {
    return *read("\x80\x02"s + made + ".").get_if<torch::Tensor>();
  };
  EXPECT_TRUE(read_tensor(tensor(1, 9, 0)).equal(torch::tensor({1.0F, 2.0F, 3.0F}).expand({9, 3})));
  EXPECT_TRUE(read_tensor(tensor(0, 4, 1)).equal(torch::arange(6.0F).unfold(0, 3, 1)));
  // x[3:3] of a matrix with 2 rows of 3
  EXPECT_EQ(read_tensor(tensor(9, 0, 3)).sizes(), (std::vector<int64_t>{0, 3}));
}

TEST(PickleReader, RefusesTensorsThatReachBeyondTheirStorage) {
  for (const auto& bad : {tensor(1, 2, 3), tensor(0, 3, 3), tensor(0, 2, 4)}) {
    EXPECT_THAT([&] { read("\x80\x02"s + bad + "."); },
                ThrowsMessage<Error>(HasSubstr("reaches beyond its storage")));
  }
  const auto with_offset = [](const std::string& offset) {
    auto data = tensor(0, 2, 3);
    return "\x80\x02"s + data.replace(data.find("tQK\0"s) + 2, 2, offset) + ".";
  };
  EXPECT_THAT([&] { read(with_offset("J\xff\xff\xff\xff")); },
              ThrowsMessage<Error>(HasSubstr("begins at -1 of its storage")));
}

/// Objects as Python writes them, each of a class that is no plain data.
std::vector<std::pair<std::string, std::string>> inert_objects() {
  const auto bytes = [](const std::string& content) {
    return "c_codecs\nencode\n"s + text(content) + text("latin1") + "\x86R";
  };
  return {
      {"numpy.ndarray", "cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85"s +
                            bytes("b") + "\x87R(K\x01K\x02\x85"s + "cnumpy\ndtype\n" + text("i8") +
                            "\x89\x88\x87R(K\x03" + text("<") + "NNNJ\xff\xff\xff\xff" +
                            "J\xff\xff\xff\xffK\0tb\x89"s + bytes("0123456789abcdef") + "tb"},
      {"numpy.dtype", "cnumpy\ndtype\n" + text("f4") + "\x89\x88\x87R"},
      {"bytes", "C\x02\xff\x01"s},
      {"bytes", bytes("\xc3\xbf")},
      {"bytearray", "\x96\x02\0\0\0\0\0\0\0\xff\x01"s},
      {"builtins.bytearray", "cbuiltins\nbytearray\n" + bytes("x") + "\x85R"},
      {"collections.Counter", "ccollections\nCounter\n}" + text("a") + "K\x05s\x85R"},
      {"collections.deque", "ccollections\ndeque\n]K\x05\x86R(K\x01K\x02"s + "e"},
      {"my.OrderedDict", "cmy\nOrderedDict\n)\x81(" + text("a") + "K\x01u}b"},
      {"my.Dict", "cmy\nDict\n)\x81(" + text("a") + "K\x01u"},
      {"torch.device", "ctorch\ndevice\n" + text("cuda") + "K\0\x86R"s},
      {"torch.float16", "ctorch\nfloat16\n"},
      {"pathlib.PosixPath", "cpathlib\nPosixPath\n" + text("/") + text("a") + "\x86R"},
      {"datetime.datetime", "cdatetime\ndatetime\n" + bytes("0123456789") + "\x85R"},
      {"decimal.Decimal", "cdecimal\nDecimal\n" + text("1.5") + "\x85R"},
      {"builtins.complex", "cbuiltins\ncomplex\n(G\0\0\0\0\0\0\0\0G\0\0\0\0\0\0\0\0tR"s},
      {"builtins.slice", "cbuiltins\nslice\nK\x01K\x02N\x87R"},
      {"my.Choice", "cmy\nChoice\n" + text("one") + "\x85R"},
      {"my.Slots", "cmy\nSlots\n)\x81N}" + text("a") + "K\x01s\x86" + "b"},
      {"my.OldStyle", "ccopy_reg\n_reconstructor\ncmy\nOldStyle\nc__builtin__\nobject\nN\x87R}b"},
      {"my.WithKeywords", "cmy\nWithKeywords\n)}" + text("a") + "K\x01s\x92"},
      {"functools.partial", "cfunctools\npartial\ncos\nsystem\n\x85R(cos\nsystem\n)}Ntb"},
      {"builtins.getattr", "cbuiltins\ngetattr\ncos\nsystem\n" + text("x") + "\x86R)R"},
      {"os.system", "cos\nsystem\n" + text("touch executed") + "\x85R"},
      {"omegaconf.dictconfig.DictConfig",
       "comegaconf.dictconfig\nDictConfig\n)\x81}" + text("_content") + "}s" + "b"},
      {"torch._utils._rebuild_qtensor", "ctorch._utils\n_rebuild_qtensor\n((" + text("storage") +
                                            "ctorch\nQInt8Storage\n" + text("0") + text("cpu") +
                                            "K\x06tQK\0tR"s},
      {"torch.ComplexFloatStorage", "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") +
                                        "ctorch\nComplexFloatStorage\n" + text("7") + text("cpu") +
                                        "K\x06tQK\0K\x06\x85K\x01\x85\x89NtR"s},
      {"an external value", text("some id") + "Q"},
      {"an integer of more than 64 bits", "\x8a\x09\0\0\0\0\0\0\0\0\x01"s},
      {"an integer of more than 64 bits", "\x8a\x09\0\0\0\0\0\0\0\x80\0"s},
      {"an integer of more than 64 bits", "\x8b\x10\0\0\0"s + std::string(15, '\0') + "\x81"},
  };
}

TEST(PickleReader, SkipsEveryInertObjectAndReadsWhatIsBesideIt) {
  for (const auto& [type, object] : inert_objects()) {
    SCOPED_TRACE(type);
    const auto value = read("\x80\x04}("s + text("skipped") + "](" + object + object + "e" +
                            text("read") + "K\x07u.");
    EXPECT_EQ(*value.find("read")->get_if<int64_t>(), 7);
    const auto& list = *value.find("skipped")->get_if<PickleValue::List>();
    ASSERT_EQ(list.size(), 2);
    ASSERT_NE(list[1].get_if<OpaqueValue>(), nullptr);
    EXPECT_EQ(list[1].get_if<OpaqueValue>()->type, type);
    EXPECT_EQ(list[1].get_if<OpaqueValue>()->path, "skipped.1");
    // It may be a key.
    const auto filled = read("\x80\x04}("s + object + "K\x01" + text("read") + "K\x07u.");
    EXPECT_EQ(*filled.find("read")->get_if<int64_t>(), 7);
  }
  // What is put into one is not content either.
  EXPECT_EQ(opaque_type("\x80\x02"s + "cmy\nDict\n)\x81(K\x01K\x02u(K\x03" + "e}b."), "my.Dict");
  EXPECT_FALSE(std::filesystem::exists("executed"));
}

TEST(PickleReader, ReadsIntegersOfUpTo64BitsHoweverTheyAreWritten) {
  const auto integer = [](const std::string& written) {
    return *read("\x80\x02"s + written + ".").get_if<int64_t>();
  };
  EXPECT_EQ(integer("\x8a\0"s), 0);
  EXPECT_EQ(integer("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"s), INT64_MAX);
  EXPECT_EQ(integer("\x8a\x08\0\0\0\0\0\0\0\x80"s), INT64_MIN);
  EXPECT_EQ(integer("\x8a\x0a\x05\0\0\0\0\0\0\0\0\0"s), 5);
  EXPECT_EQ(integer("\x8b\x09\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff"s), -2);
}

TEST(PickleReader, ReadsNumbersOfNumPyAsPlainOnes) {
  const auto scalar = [](const std::string& type, const std::string& bytes,
                         const std::string& order = "<") {
    return read("\x80\x04"s + "cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n" + text(type) +
                "\x89\x88\x87R(K\x03" + text(order) + "NNNtbC" + static_cast<char>(bytes.size()) +
                bytes + "\x86R.");
  };
  EXPECT_EQ(*scalar("f8", "\0\0\0\0\0\0\xf8\x3f"s).get_if<double>(), 1.5);
  EXPECT_EQ(*scalar("f4", "\0\0\xc0\x3f"s).get_if<double>(), 1.5);
  EXPECT_EQ(*scalar("i8", "\xfe\xff\xff\xff\xff\xff\xff\xff"s).get_if<int64_t>(), -2);
  EXPECT_NE(scalar("f8", "\0\0\0\0\0\0\xf8\x3f"s, ">").get_if<OpaqueValue>(), nullptr);
  EXPECT_NE(scalar("f8", "\0\0\xc0\x3f"s).get_if<OpaqueValue>(), nullptr);
  EXPECT_NE(scalar("M8", "\0\0\0\0\0\0\0\0"s).get_if<OpaqueValue>(), nullptr);
}

TEST(PickleReader, AttributesAreTheContentOfANamespaceAlone) {
  const auto value = read("\x80\x02"s + "ccollections\nOrderedDict\n)R" + text("a") + "K\x01s}" +
                          text("_metadata") + "}s" + text("b") + "K\x02s" + "b.");
  EXPECT_EQ(value.get_if<PickleValue::Dict>()->keys.size(), 1);
}

TEST(PickleReader, AKeyThatComesAgainReplaces) {
  const auto value =
      read("\x80\x02}("s + text("a") + "K\x01" + text("b") + "K\x02" + text("a") + "K\x03u.");
  EXPECT_EQ(*value.find("a")->get_if<int64_t>(), 3);
  EXPECT_EQ(value.get_if<PickleValue::Dict>()->keys.size(), 2);
}

TEST(PickleReader, ReadsTheWantedEntriesAndAsksForNoStorageOfOthers) {
  int asked = 0;
  const auto read_wanted = [&](const PicklePaths& wanted) {
    return read_pickle(
        "\x80\x02}("s + text("a") + tensor(0, 2, 3) + text("b") + "}(" + text("c") + "K\x01" +
            text("d") + "K\x02uu.",
        "x.pt",
        [&](const std::string&, torch::ScalarType type, int64_t elements) {
          ++asked;
          return torch::zeros({elements}, type);
        },
        wanted);
  };
  const auto some = read_wanted({"b.d", "b.e", "aa"});
  EXPECT_EQ(asked, 0);
  EXPECT_EQ(some.find("a"), nullptr);
  EXPECT_EQ(some.find("b")->find("c"), nullptr);
  EXPECT_EQ(*some.find("b")->find("d")->get_if<int64_t>(), 2);
  EXPECT_NE(read_wanted({"a"}).find("a")->get_if<torch::Tensor>(), nullptr);
  EXPECT_EQ(asked, 1);
}

TEST(PickleReader, RefusesWhatNoFileOfTorchHasAndSaysWhy) {
  for (const char opcode : "ILFSVPpgdlio"s) {
    EXPECT_THAT([&] { read("\x80\x02"s + opcode + "."); },
                ThrowsMessage<Error>(HasSubstr("is of protocol 0 or 1")));
  }
  for (const char opcode : "\x97\x98"s) {
    EXPECT_THAT([&] { read("\x80\x05"s + opcode + "."); },
                ThrowsMessage<Error>(HasSubstr("leaves buffers to its reader")));
  }
  EXPECT_THAT([&] { read("\x80\x06N."); }, ThrowsMessage<Error>(HasSubstr("protocol 6")));
  EXPECT_THAT([&] { read("\x80\x02\xff."); }, ThrowsMessage<Error>(HasSubstr("0xff is unknown")));
}

TEST(PickleReader, DataThatContainThemselvesOrAreNestedTooDeepAreSkipped) {
  const auto circle = read("\x80\x02]q\0h\0a."s);
  EXPECT_EQ(circle.get_if<PickleValue::List>()->at(0).get_if<OpaqueValue>()->type,
            "data that contain themselves");
  const auto deep = read("\x80\x02"s + std::string(100'000, ']') + std::string(99'999, 'a') + ".");
  const auto* here = &deep;
  int depth = 0;
  while (here->get_if<PickleValue::List>() != nullptr) {
    here = &here->get_if<PickleValue::List>()->at(0);
    ++depth;
  }
  EXPECT_EQ(here->get_if<OpaqueValue>()->type, "data nested deeper than 100");
  EXPECT_EQ(depth, 101);
}

TEST(PickleReader, SmallFilesDoNotBecomeLargeData) {
  // 2^60 values out of 60 lists of twice the one before.
  std::string doubled = "\x80\x02]";
  for (int i = 0; i < 60; ++i) doubled += "2\x86";
  EXPECT_THAT([&] { read(doubled + "."); }, ThrowsMessage<Error>(HasSubstr("holds more than")));
  const auto repeated = [](const std::string& once, const std::string& again, int times) {
    std::string all = "\x80\x02](" + once;
    for (int i = 0; i < times; ++i) all += again;
    return all + "e.";
  };
  // A long text many times, a list copied many times.
  const std::string long_text = "X\xa0\x86\x01\0"s + std::string(100'000, 'x') + "q\0"s;
  EXPECT_THAT([&] { read(repeated(long_text, "h\0"s, 50'000)); },
              ThrowsMessage<Error>(HasSubstr("bytes of text")));
  const auto long_list = "](" + std::string(100'000, 'N') + "eq\0c__builtin__\nset\nq\1"s;
  EXPECT_THAT([&] { read(repeated(long_list, "h\1h\0\x85R"s, 50'000)); },
              ThrowsMessage<Error>(HasSubstr("holds more than")));
  EXPECT_THAT([&] { read(repeated(long_text, "h\0h\0\x93"s, 50'000)); },
              ThrowsMessage<Error>(HasSubstr("the name of a class is too long")));
  const std::string huge = "c" + std::string("torch._utils\n_rebuild_tensor_v2\n") + "((" +
                           text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") +
                           "K\6tQK\0J\xff\xff\xff\x7fK\2\x86K\0K\0\x86\x89NtR"s;
  EXPECT_THAT([&] { read("\x80\x02" + huge + "."); },
              ThrowsMessage<Error>(HasSubstr("is made of a storage of 6")));
}

TEST(PickleReader, RefusesLengthsBeyondTheEnd) {
  for (const auto& bad : {"X\xff\xff\xff\xff"s, "\x8d\xff\xff\xff\xff\xff\xff\xff\xff"s, "U\x09"s,
                          "cos"s, ""s, "K"s, "."s, "a."s, "h\x07."s, "t."s, "R."s}) {
    EXPECT_THROW(read("\x80\x02"s + bad), Error);
  }
}

std::string all_inert_objects() {
  std::string all;
  for (const auto& [type, object] : inert_objects()) all += object;
  return all;
}

TEST(PickleReader, AnyChangedOrCutByteGivesDataOrAnError) {
  const auto whole = "\x80\x02}q\1("s + text("t") + tensor(0, 2, 3) + text("a") +
                     tensor_with_attribute("torch\nTensor") + text("n") +
                     "cargparse\nNamespace\n)\x81}" + text("lr") + "K\x05sb" + text("l") +
                     "](K\1NG\0\0\0\0\0\0\0\0\x8a\1\xff"s + all_inert_objects() + "eu.";
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
