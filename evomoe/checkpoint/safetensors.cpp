#include "evomoe/checkpoint/safetensors.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/base/mapped_file.h"
#include "evomoe/checkpoint/durable_file.h"

namespace evomoe {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kLongestHeader = 100'000'000;  // the limit of the reference implementation
constexpr size_t kMostDimensions = 64;            // of LibTorch's tensors
constexpr const char* kMetadata = "__metadata__";

struct TypeName {
  std::string_view name;
  torch::ScalarType type;
};

/// Those of the format that LibTorch has; it also has types of 4 and 6 bits.
constexpr std::array<TypeName, 17> kTypes = {{{"F64", torch::kFloat64},
                                              {"F32", torch::kFloat32},
                                              {"F16", torch::kFloat16},
                                              {"BF16", torch::kBFloat16},
                                              {"I64", torch::kInt64},
                                              {"I32", torch::kInt32},
                                              {"I16", torch::kInt16},
                                              {"I8", torch::kInt8},
                                              {"U8", torch::kUInt8},
                                              {"BOOL", torch::kBool},
                                              {"U64", torch::kUInt64},
                                              {"U32", torch::kUInt32},
                                              {"U16", torch::kUInt16},
                                              {"C64", torch::kComplexFloat},
                                              {"F8_E5M2", torch::kFloat8_e5m2},
                                              {"F8_E4M3", torch::kFloat8_e4m3fn},
                                              {"F8_E8M0", torch::kFloat8_e8m0fnu}}};

std::string known_types() {
  std::string names;
  for (const auto& entry : kTypes) names += (names.empty() ? "" : " ") + std::string(entry.name);
  return names;
}

std::string_view type_name(torch::ScalarType type, const std::string& tensor) {
  for (const auto& entry : kTypes) {
    if (entry.type == type) return entry.name;
  }
  fail("safetensors: tensor '{}' has type {}, which the format cannot hold; known: {}", tensor,
       c10::toString(type), known_types());
}

std::optional<torch::ScalarType> type_of(std::string_view name) {
  for (const auto& entry : kTypes) {
    if (entry.name == name) return entry.type;
  }
  return std::nullopt;
}

/// The JSON of a header: it begins with '{' and may only be padded with spaces. nlohmann would take
/// a NUL for its end.
std::string_view without_padding(std::string_view text, const std::string& file) {
  EVOMOE_CHECK(text.starts_with('{'), "{}: the safetensors header does not begin with '{{'", file);
  const auto end = text.find_last_not_of(' ') + 1;
  const auto last = static_cast<unsigned char>(text[end - 1]);
  EVOMOE_CHECK(
      last == '}' && text.find('\0') == std::string_view::npos,
      "{}: the safetensors header ends with or contains byte 0x{:02x}, and only spaces may "
      "follow its JSON; write the file again with a library that keeps to the format",
      file, last == '}' ? 0 : last);
  return text.substr(0, end);
}

/// Parses the header, in which no name may stand twice.
json parse_unique(std::string_view text, const std::string& file) {
  std::string repeated;
  auto header = parse_json(text, &repeated);
  EVOMOE_CHECK(repeated.empty(), "{}: the name '{}' comes twice in the safetensors header", file,
               repeated);
  if (header.is_discarded()) {
    fail(
        "{}: the safetensors header is not valid JSON ({}); the file is damaged or of another "
        "format",
        file, json_problem(text).reason);
  }
  return header;
}

uint64_t read_count(const json& value, const std::string& file, const std::string& tensor,
                    const char* what) {
  // 2^63 and more cannot be the size of a tensor or of a file.
  EVOMOE_CHECK(value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{INT64_MAX},
               "{}: tensor '{}': {} holds {}, which is not a count", file, tensor, what,
               json_text(value));
  return value.get<uint64_t>();
}

SafetensorsEntry parse_entry(const std::string& name, const json& value, uint64_t data_bytes,
                             const std::string& file) {
  EVOMOE_CHECK(value.is_object() && value.size() == 3 && value.contains("dtype") &&
                   value.contains("shape") && value.contains("data_offsets"),
               "{}: tensor '{}' must have exactly the entries dtype, shape and data_offsets", file,
               name);
  const auto& dtype = value["dtype"];
  const auto type = dtype.is_string() ? type_of(dtype.get_ref<const std::string&>()) : std::nullopt;
  EVOMOE_CHECK(type.has_value(),
               "{}: tensor '{}' has type {}, which is not read; save it as one of {}", file, name,
               json_text(dtype), known_types());

  SafetensorsEntry entry;
  entry.dtype = *type;
  const auto& shape = value["shape"];
  EVOMOE_CHECK(shape.is_array(), "{}: the shape of tensor '{}' is not a list", file, name);
  EVOMOE_CHECK(shape.size() <= kMostDimensions,
               "{}: tensor '{}' has {} dimensions; at most {} are read", file, name, shape.size(),
               kMostDimensions);
  uint64_t bytes = c10::elementSize(*type), without_empty = bytes;
  for (const auto& dimension : shape) {
    const uint64_t size = read_count(dimension, file, name, "shape");
    // An empty tensor has no bytes whatever its other sizes; LibTorch must be able to count them.
    EVOMOE_CHECK(
        !__builtin_mul_overflow(without_empty, std::max<uint64_t>(size, 1), &without_empty) &&
            without_empty <= uint64_t{INT64_MAX},
        "{}: the shape {} of tensor '{}' is larger than any file", file, json_text(shape), name);
    bytes *= size;
    entry.shape.push_back(static_cast<int64_t>(size));
  }

  const auto& offsets = value["data_offsets"];
  EVOMOE_CHECK(offsets.is_array() && offsets.size() == 2,
               "{}: data_offsets of tensor '{}' is not a pair", file, name);
  entry.begin = read_count(offsets[0], file, name, "data_offsets");
  entry.end = read_count(offsets[1], file, name, "data_offsets");
  EVOMOE_CHECK(entry.begin <= entry.end && entry.end <= data_bytes,
               "{}: tensor '{}' lies at bytes {} to {}, but the file holds {} bytes of data; it is "
               "cut or damaged",
               file, name, entry.begin, entry.end, data_bytes);
  EVOMOE_CHECK(entry.end - entry.begin == bytes,
               "{}: tensor '{}' of type {} and shape {} needs {} bytes, but has {}", file, name,
               dtype.get<std::string>(), json_text(shape), bytes, entry.end - entry.begin);
  return entry;
}

/// The tensors must fill the data from its first to its last byte: no gap can hide something and
/// none can overlap.
void check_contiguous(const SafetensorsHeader& header, uint64_t data_bytes,
                      const std::string& file) {
  std::vector<std::pair<const SafetensorsEntry*, const std::string*>> order;
  for (const auto& [name, entry] : header.tensors) order.emplace_back(&entry, &name);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first->begin, a.first->end) < std::pair(b.first->begin, b.first->end);
  });
  uint64_t at = 0;
  for (const auto& [entry, name] : order) {
    EVOMOE_CHECK(entry->begin == at,
                 "{}: tensor '{}' begins at byte {} of the data, but the one before ends at {}; "
                 "the header is damaged",
                 file, *name, entry->begin, at);
    at = entry->end;
  }
  EVOMOE_CHECK(at == data_bytes, "{}: {} bytes follow the last tensor; the file is damaged", file,
               data_bytes - at);
}

/// The header of `tensors` in the given order, padded with spaces so that the data begins with a
/// page of the file.
std::string make_header(const std::vector<std::pair<std::string, torch::Tensor>>& tensors,
                        const std::map<std::string, std::string>& metadata,
                        const std::string& file) {
  auto header = json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  uint64_t at = 0;
  for (const auto& [name, tensor] : tensors) {
    const uint64_t end = at + tensor.nbytes();
    header[name] = {{"dtype", type_name(tensor.scalar_type(), name)},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text;
  try {
    text = json_text(header, -1, BadUtf8::kThrow);
  } catch (const json::exception& error) {
    fail("cannot write {}: a name or its metadata is not UTF-8 ({})", file, error.what());
  }
  const auto end = (kLengthBytes + text.size() + kFilePage - 1) / kFilePage * kFilePage;
  text.resize(end - kLengthBytes, ' ');
  EVOMOE_CHECK(text.size() <= kLongestHeader,
               "cannot write {}: its header of {} bytes exceeds the {} that the format allows; "
               "store fewer tensors in one "
               "file",
               file, text.size(), kLongestHeader);
  return text;
}

/// `data` begins with the first tensor of the file. It need not be aligned to the type.
torch::Tensor copied(const SafetensorsEntry& entry, const char* data) {
  auto tensor = torch::empty(entry.shape, torch::TensorOptions().dtype(entry.dtype));
  if (entry.end > entry.begin)  // an empty tensor may have no memory at all
    std::memcpy(tensor.mutable_data_ptr(), data + entry.begin, entry.end - entry.begin);
  return tensor;
}

}  // namespace

FileDigest write_safetensors(const std::filesystem::path& path, const TensorMap& tensors,
                             const std::map<std::string, std::string>& metadata) {
  const std::string file = path.string();
  std::vector<std::pair<std::string, torch::Tensor>> order;
  for (const auto& [name, tensor] : tensors) {
    EVOMOE_CHECK(name != kMetadata, "cannot write {}: a tensor cannot be called {}", file,
                 kMetadata);
    EVOMOE_CHECK(tensor.defined(), "cannot write {}: tensor '{}' is undefined", file, name);
    EVOMOE_CHECK(tensor.layout() == torch::kStrided, "cannot write {}: tensor '{}' is not dense",
                 file, name);
    order.emplace_back(name, tensor);
  }
  // Whole pages first: they can be written as they lie. Then wide types, as the reference
  // implementation does: every tensor is aligned to its type.
  const auto rank = [](const torch::Tensor& tensor) {
    return std::pair(tensor.nbytes() % kFilePage == 0, tensor.element_size());
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](const auto& a, const auto& b) { return rank(a.second) > rank(b.second); });
  const std::string header = make_header(order, metadata, file);

  DurableFile out(temporary_name(path));
  const uint64_t length = header.size();
  std::array<char, kLengthBytes> length_bytes{};
  std::memcpy(length_bytes.data(), &length, kLengthBytes);
  out.write({length_bytes.data(), kLengthBytes});
  out.write(header);
  for (const auto& [name, tensor] : order) {
    const auto host = tensor.detach().to(torch::kCPU).contiguous();
    out.write({static_cast<const char*>(host.const_data_ptr()), host.nbytes()});
  }
  out.close();
  replace_by_temporary(path);
  return {out.bytes(), out.checksum()};
}

SafetensorsHeader parse_safetensors_header(std::string_view file, const std::string& name) {
  EVOMOE_CHECK(!file.starts_with("PK"),
               "{}: is a zip file, as torch.save writes it, and no safetensors file; evomoe train "
               "takes the weights of a checkpoint of fairseq with --finetune-from-model",
               name);
  EVOMOE_CHECK(file.size() >= kLengthBytes,
               "{}: {} bytes are too few for a safetensors file; it is cut or of another format",
               name, file.size());
  uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  EVOMOE_CHECK(
      length <= file.size() - kLengthBytes,
      "{}: the file of {} bytes claims a header of {} bytes; it is cut or not a safetensors file",
      name, file.size(), length);
  EVOMOE_CHECK(length <= kLongestHeader,
               "{}: its header has {} bytes, more than the {} that the format allows", name, length,
               kLongestHeader);
  const auto text = without_padding(file.substr(kLengthBytes, length), name);
  const auto parsed = parse_unique(text, name);

  SafetensorsHeader header;
  header.data_offset = kLengthBytes + length;
  const uint64_t data_bytes = file.size() - header.data_offset;
  for (const auto& [key, value] : parsed.items()) {
    if (key != kMetadata) {
      header.tensors[key] = parse_entry(key, value, data_bytes, name);
      continue;
    }
    EVOMOE_CHECK(value.is_object(), "{}: {} is not a map of strings", name, kMetadata);
    for (const auto& [label, text_value] : value.items()) {
      EVOMOE_CHECK(text_value.is_string(), "{}: {} entry '{}' is not a string", name, kMetadata,
                   label);
      header.metadata[label] = text_value.get<std::string>();
    }
  }
  check_contiguous(header, data_bytes, name);
  return header;
}

TensorMap parse_safetensors(std::string_view file, const std::string& name) {
  const auto header = parse_safetensors_header(file, name);
  TensorMap tensors;
  for (const auto& [key, entry] : header.tensors)
    tensors.emplace(key, copied(entry, file.data() + header.data_offset));
  return tensors;
}

TensorMap mapped_safetensors(const std::shared_ptr<MappedFile>& file,
                             const SafetensorsHeader& header) {
  TensorMap tensors;
  auto* data = file->own_bytes() + header.data_offset;
  for (const auto& [key, entry] : header.tensors) {
    auto* begin = data + entry.begin;
    const auto width = c10::elementSize(entry.dtype);
    const bool as_it_lies =
        entry.end > entry.begin && reinterpret_cast<uintptr_t>(begin) % width == 0;
    tensors.emplace(key, as_it_lies ? torch::from_blob(
                                          begin, entry.shape, [file](void*) {}, entry.dtype)
                                    : copied(entry, data));
  }
  return tensors;
}

TensorMap read_safetensors(const std::filesystem::path& path) {
  const auto file = std::make_shared<MappedFile>(path);
  return mapped_safetensors(file, parse_safetensors_header(file->bytes(), path.string()));
}

SafetensorsHeader read_safetensors_header(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_safetensors_header(file.bytes(), path.string());
}

}  // namespace evomoe
