#include "evomoe/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/xxhash64.h"
#include "evomoe/runtime/block_allocator.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// A safetensors file of `header` and `data`.
std::string file_of(const std::string& header, const std::string& data) {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i));
  return bytes + header + data;
}

TEST(Safetensors, RoundTripsEveryTypeAndShape) {
  torch::manual_seed(1);
  testing::TemporaryFolder folder;
  TensorMap tensors = {{"scalar", torch::tensor(3.5)},
                       {"empty", torch::zeros({0, 4})},
                       {"transposed", torch::randn({3, 5}).t()},
                       {"slice", torch::randn({4, 6}).slice(1, 1, 6, 2)},
                       {"a/b \"c\" ü", torch::randn({2})}};
  for (const auto type :
       {torch::kFloat64, torch::kFloat32, torch::kFloat16, torch::kBFloat16, torch::kInt64,
        torch::kInt32, torch::kInt16, torch::kInt8, torch::kUInt8, torch::kBool, torch::kUInt16,
        torch::kUInt32, torch::kUInt64, torch::kComplexFloat, torch::kFloat8_e5m2,
        torch::kFloat8_e4m3fn, torch::kFloat8_e8m0fnu}) {
    tensors[fmt::format("type {}", c10::toString(type))] = torch::randint(0, 2, {3, 1, 2}).to(type);
  }
  const auto digest = write_safetensors(folder / "x", tensors, {{"made by", "a test"}});
  EXPECT_EQ(digest.bytes, fs::file_size(folder / "x"));
  const auto read = read_safetensors(folder / "x");
  ASSERT_EQ(read.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(read.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(torch::equal(read.at(name), tensor)) << name;
  }
  const auto header = read_safetensors_header(folder / "x");
  EXPECT_EQ(header.metadata.at("made by"), "a test");
  EXPECT_EQ(header.tensors.at("transposed").shape, (std::vector<int64_t>{5, 3}));
  EXPECT_EQ(header.data_offset % 4096, 0U);
  for (const auto& [name, entry] : header.tensors)
    EXPECT_EQ(entry.begin % c10::elementSize(entry.dtype), 0U) << name;
}

TEST(Safetensors, TensorsOfAFileMayBeChangedAndOutliveItsReplacement) {
  const testing::TemporaryFolder folder;
  write_safetensors(folder / "x", {{"a", torch::ones({3000})}, {"b", torch::zeros({2})}});
  const auto before = testing::read_text(folder / "x");
  auto tensors = read_safetensors(folder / "x");
  tensors.at("a").add_(1);
  EXPECT_EQ(testing::read_text(folder / "x"), before);
  const auto a = tensors.at("a");
  tensors.clear();
  write_safetensors(folder / "x", {{"a", torch::full({3000}, 7.0)}});
  EXPECT_TRUE(torch::equal(a, torch::full({3000}, 2.0)));
}

TEST(Safetensors, ReadsFilesOfOtherProgramsWhoseTensorsAreNotAligned) {
  const testing::TemporaryFolder folder;
  const std::vector<float> values = {1.5F, -2.0F};
  const std::string data(reinterpret_cast<const char*>(values.data()), 8);
  for (size_t spaces = 0; spaces < 8; ++spaces) {
    const auto header =
        R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})" + std::string(spaces, ' ');
    testing::write_text(folder / "x", file_of(header, data));
    EXPECT_TRUE(torch::equal(read_safetensors(folder / "x").at("a"), torch::tensor({1.5F, -2.0F})))
        << spaces;
  }
}

TEST(Safetensors, TensorsThatLieOnPagesAreWrittenAsTheyLie) {
  kernels::use_block_allocator();  // which begins large tensors on pages
  torch::manual_seed(3);
  const auto large = torch::randn({int64_t{3} << 20});
  const TensorMap tensors = {{"whole pages", torch::randn({int64_t{1} << 20})},
                             {"more than a buffer", large},
                             {"odd", torch::randn({(int64_t{1} << 20) + 3})},
                             {"transposed", torch::randn({1024, 1030}).t()},
                             {"a slice", large.slice(0, 5, (int64_t{1} << 20) + 5)},
                             {"doubles", torch::randn({int64_t{1} << 19}, torch::kFloat64)},
                             {"small", torch::randn({7})},
                             {"empty", torch::randn({0})}};
  ASSERT_EQ(reinterpret_cast<uintptr_t>(tensors.at("whole pages").data_ptr()) % 4096, 0U);
  const testing::TemporaryFolder folder;
  const auto digest = write_safetensors(folder / "x", tensors);
  EXPECT_EQ(digest.bytes, std::filesystem::file_size(folder / "x"));
  EXPECT_EQ(digest.checksum, xxhash64(testing::read_text(folder / "x")));
  const auto read = read_safetensors(folder / "x");
  ASSERT_EQ(read.size(), tensors.size());
  for (const auto& [name, tensor] : tensors)
    EXPECT_TRUE(torch::equal(read.at(name), tensor)) << name;
}

TEST(Safetensors, HoldsNoTensorAtAll) {
  testing::TemporaryFolder folder;
  write_safetensors(folder / "x", {});
  EXPECT_TRUE(read_safetensors(folder / "x").empty());
}

TEST(Safetensors, ReadsAFileOfThePythonLibrary) {
  const auto tensors =
      read_safetensors(testing::golden_dir() / "routing" / "b2s24_layer_switch.safetensors");
  EXPECT_FALSE(tensors.empty());
}

TEST(Safetensors, ReadsAHandMadeFile) {
  const auto bytes =
      file_of(R"({"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]},)"
              R"("a":{"dtype":"I32","shape":[],"data_offsets":[0,4]},"__metadata__":{"k":"v"}})",
              std::string("\x07\0\0\0\x01\x02", 6));
  const auto tensors = parse_safetensors(bytes, "x");
  EXPECT_EQ(tensors.at("a").item<int32_t>(), 7);
  EXPECT_EQ(tensors.at("b")[1].item<uint8_t>(), 2);
}

TEST(Safetensors, TakesPaddingEmptyTensorsAndAnyOrderOfEntries) {
  const auto tensors = parse_safetensors(
      file_of(R"({"z":{"shape":[2],"data_offsets":[0,2],"dtype":"U8"},"__metadata__":{},)"
              R"("empty":{"dtype":"F32","shape":[3,0],"data_offsets":[2,2]},)"
              R"("also":{"dtype":"F64","shape":[0],"data_offsets":[0,0]}})"
              "   ",
              "\x01\x02"),
      "x");
  EXPECT_EQ(tensors.at("empty").sizes(), (std::vector<int64_t>{3, 0}));
  EXPECT_EQ(tensors.at("also").numel(), 0);
  EXPECT_EQ(tensors.at("z")[1].item<uint8_t>(), 2);
}

TEST(Safetensors, RefusesEveryViolationOfTheFormat) {
  const auto entry = [](const std::string& rest) { return "{\"a\":{" + rest + "}}"; };
  const std::string good = R"("dtype":"I8","shape":[4],"data_offsets":[0,4])";
  const std::string data = "1234";
  ASSERT_NO_THROW(parse_safetensors(file_of(entry(good), data), "x"));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "0 bytes are too few"},
      {"1234567", "7 bytes are too few"},
      {std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10), "claims a header of"},
      {file_of(entry(good), data).substr(0, 20), "claims a header of"},
      {file_of("", ""), "does not begin with '{'"},
      {file_of(" {}", ""), "does not begin with '{'"},
      {file_of("{\"a\":", ""), "ends with or contains byte 0x3a, and only spaces may follow"},
      {file_of("{} x", ""), "ends with or contains byte 0x78"},
      {file_of(std::string("{}\0", 3), ""), "ends with or contains byte 0x00"},
      {file_of(std::string("{} \0 ", 5), ""), "ends with or contains byte 0x00"},
      {file_of(std::string("{}\0}", 4), ""), "ends with or contains byte 0x00"},
      {file_of("{}\n", ""), "ends with or contains byte 0x0a"},
      {file_of("{}\t ", ""), "ends with or contains byte 0x09"},
      {file_of("\xef\xbb\xbf{}", ""), "does not begin with '{'"},
      {file_of("{} }", ""), "not valid JSON"},
      {file_of("{\"\xff\":1}", ""), "not valid JSON"},
      {file_of("{\"a\":1,}", ""), "not valid JSON"},
      {file_of(R"({"__metadata__":{"a":"1","a":"1"}})", ""), "the name 'a' comes twice"},
      {file_of(R"({"__metadata__":{},"__metadata__":{}})", ""), "'__metadata__' comes twice"},
      {"PK\x03\x04 whatever", "as torch.save writes it, and no safetensors file"},
      {file_of("{\"a\":1}", ""), "exactly the entries dtype, shape and data_offsets"},
      {file_of(entry(R"("dtype":"I8","shape":[4])"), data), "exactly the entries"},
      {file_of(entry(good + ",\"more\":1"), data), "exactly the entries"},
      {file_of("{\"a\":{" + good + "},\"a\":{" + good + "}}", data), "the name 'a' comes twice"},
      {file_of(entry(good + R"(,"dtype":"U8")"), data), "the name 'dtype' comes twice"},
      {file_of(entry(R"("dtype":"I7","shape":[4],"data_offsets":[0,4])"), data),
       "has type \"I7\", which is not read; save it as one of"},
      {file_of(entry(R"("dtype":"F4","shape":[8],"data_offsets":[0,4])"), data),
       "has type \"F4\", which is not read; save it as one of"},
      {file_of(entry(R"("dtype":8,"shape":[4],"data_offsets":[0,4])"), data),
       "has type 8, which is not read"},
      {file_of(entry(R"("dtype":"I8","shape":4,"data_offsets":[0,4])"), data), "is not a list"},
      {file_of(entry(R"("dtype":"I8","data_offsets":[0,4],"shape":)" + std::string(100'000, '[') +
                     "4" + std::string(100'000, ']')),
               data),
       "more than 100 levels"},
      {file_of(entry(R"("dtype":"I8","shape":[-4],"data_offsets":[0,4])"), data), "shape holds -4"},
      {file_of(entry(R"("dtype":"I8","shape":[4.0],"data_offsets":[0,4])"), data),
       "shape holds 4.0"},
      {file_of(entry(R"("dtype":"I8","shape":[4294967296,4294967296,2],"data_offsets":[0,4])"),
               data),
       "larger than any file"},
      {file_of(entry(R"("dtype":"I8","shape":[0,4294967296,4294967296],"data_offsets":[0,0])"), ""),
       "larger than any file"},
      {file_of(entry(R"("dtype":"I8","shape":[18446744073709551615],"data_offsets":[0,4])"), data),
       "not a count"},
      {file_of(entry(R"("dtype":"I8","shape":[5],"data_offsets":[0,4])"), data),
       "needs 5 bytes, but has 4"},
      {file_of(entry(R"("dtype":"I16","shape":[4],"data_offsets":[0,4])"), data),
       "needs 8 bytes, but has 4"},
      {file_of(entry(R"("dtype":"I8","shape":[4],"data_offsets":[0])"), data), "not a pair"},
      {file_of(entry(R"("dtype":"I8","shape":[4],"data_offsets":[4,0])"), data),
       "lies at bytes 4 to 0"},
      {file_of(entry(good), "123"), "holds 3 bytes of data; it is cut"},
      {file_of(entry(good), "12345"), "1 bytes follow the last tensor"},
      {file_of(entry(R"("dtype":"I8","shape":[3],"data_offsets":[1,4])"), data),
       "begins at byte 1"},
      {file_of("{\"a\":{" + good + R"(},"b":{"dtype":"I8","shape":[2],"data_offsets":[2,4]}})",
               data),
       "begins at byte 2"},
      {file_of(R"({"__metadata__":3})", ""), "is not a map of strings"},
      {file_of(R"({"__metadata__":{"a":1}})", ""), "entry 'a' is not a string"},
  };
  for (const auto& [bytes, message] : cases) {
    EXPECT_THAT(([&, &bytes = bytes] { parse_safetensors(bytes, "x"); }),
                ThrowsMessage<Error>(HasSubstr(message)))
        << bytes;
  }
}

TEST(Safetensors, RefusesWhatItCannotWriteAndLeavesNothing) {
  testing::TemporaryFolder folder;
  const auto write = [&](const TensorMap& tensors) {
    return [&, tensors] { write_safetensors(folder / "x", tensors); };
  };
  EXPECT_THAT(write({{"a", torch::Tensor()}}), ThrowsMessage<Error>(HasSubstr("'a' is undefined")));
  EXPECT_THAT(write({{"a", torch::zeros({2}, torch::kComplexDouble)}}),
              ThrowsMessage<Error>(HasSubstr("'a' has type ComplexDouble")));
  EXPECT_THAT(write({{"a", torch::zeros({2}).to_sparse()}}),
              ThrowsMessage<Error>(HasSubstr("not dense")));
  EXPECT_THAT(write({{"\xff", torch::zeros({2})}}), ThrowsMessage<Error>(HasSubstr("not UTF-8")));
  EXPECT_THAT(write({{"__metadata__", torch::zeros({2})}}),
              ThrowsMessage<Error>(HasSubstr("cannot be called")));
  EXPECT_THAT(([&] { write_safetensors(folder / "no" / "x", {}); }),
              ThrowsMessage<Error>(HasSubstr("No such file")));
  EXPECT_TRUE(fs::is_empty(folder.path()));
  EXPECT_THAT(([&] { read_safetensors(folder / "x"); }),
              ThrowsMessage<Error>(HasSubstr("cannot open")));
  EXPECT_THAT(([&] { read_safetensors(folder.path()); }),
              ThrowsMessage<Error>(HasSubstr("it is a folder")));
}

}  // namespace
}  // namespace evomoe
