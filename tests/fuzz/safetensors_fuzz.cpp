// safetensors; and what is read, written and read again is the same.
#include "evomoe/base/error.h"
#include "evomoe/checkpoint/safetensors.h"
#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

using testing::read_text;

std::string with_header(const std::string& header, const std::string& data) {
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size() & 0xff);
  bytes[1] = static_cast<char>(header.size() >> 8);
  return bytes + header + data;
}

std::vector<std::string> safetensors_seeds(const std::filesystem::path& folder) {
  write_safetensors(folder / "x",
                    {{"a.weight", torch::arange(6).to(torch::kFloat).view({2, 3})},
                     {"step", torch::tensor(int64_t{3})},
                     {"none", torch::empty({0, 2}, torch::kBFloat16)}},
                    {{"format", "pt"}});
  return {read_text(folder / "x"),
          with_header(R"({"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}})", "\x01\x02"),
          with_header(R"({"a":{"dtype":"F16","shape":[1],"data_offsets":[2,4]},)"
                      R"("b":{"dtype":"U8","shape":[],"data_offsets":[0,1]},)"
                      R"("c":{"dtype":"I8","shape":[1],"data_offsets":[1,2]}}   )",
                      "abcd")};
}

void read_tensors(const std::filesystem::path& folder, const std::string& bytes) {
  const auto tensors = parse_safetensors(bytes, "x");
  for (const auto& [name, tensor] : tensors) tensor.to(torch::kFloat).sum();
  write_safetensors(folder / "y", tensors);
  if (read_safetensors(folder / "y").size() != tensors.size())
    throw std::logic_error("written tensors come back as others");
}

const Registration registration("safetensors", {safetensors_seeds, read_tensors});

}  // namespace
}  // namespace evomoe::fuzz
