#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace evomoe {

/// The bytes of a protobuf message, field by field
/// (https://protobuf.dev/programming-guides/encoding). Numbers are stored as this machine does,
/// little-endian.
class ProtobufMessage {
 public:
  ProtobufMessage& integer(uint32_t field, uint64_t value) {
    key(field, kVarint);
    varint(value);
    return *this;
  }
  ProtobufMessage& number(uint32_t field, double value) {
    key(field, kEightBytes);
    raw(value);
    return *this;
  }
  ProtobufMessage& small_number(uint32_t field, float value) {
    key(field, kFourBytes);
    raw(value);
    return *this;
  }
  /// A string, bytes, or another message.
  ProtobufMessage& bytes(uint32_t field, std::string_view value) {
    key(field, kLength);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  ProtobufMessage& numbers(uint32_t field, const std::vector<double>& values) {
    return bytes(field,
                 {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)});
  }

  const std::string& text() const { return bytes_; }

 private:
  enum WireType : uint32_t { kVarint = 0, kEightBytes = 1, kLength = 2, kFourBytes = 5 };
  static_assert(std::endian::native == std::endian::little);

  void key(uint32_t field, WireType type) { varint(uint64_t{field} << 3 | type); }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  template <std::floating_point T>
  void raw(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }

  std::string bytes_;
};

}  // namespace evomoe
