#include "evomoe/text/byte_alphabet.h"

#include <array>

#include "evomoe/text/text_lines.h"

namespace evomoe {
namespace {

struct Alphabet {
  std::array<uint32_t, 256> character{};
  std::array<uint8_t, 256> byte_of_rank{};
  std::array<int, 512> byte{};  // by character, -1: none
};

constexpr bool is_printable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr Alphabet kAlphabet = [] {
  Alphabet alphabet;
  for (int& byte : alphabet.byte) byte = -1;
  int rank = 0;
  uint32_t next = 0x100;
  for (const bool printable : {true, false}) {
    for (int byte = 0; byte < 256; ++byte) {
      if (is_printable(byte) != printable) continue;
      alphabet.character[byte] = printable ? byte : next++;
      alphabet.byte[alphabet.character[byte]] = byte;
      alphabet.byte_of_rank[rank++] = byte;
    }
  }
  return alphabet;
}();

}  // namespace

std::string spell_bytes(std::string_view bytes) {
  std::string spelling;
  for (const char byte : bytes) {
    const uint32_t character = kAlphabet.character[static_cast<uint8_t>(byte)];
    if (character < 0x80) {
      spelling += static_cast<char>(character);
    } else {
      spelling += static_cast<char>(0xC0 | character >> 6);
      spelling += static_cast<char>(0x80 | (character & 0x3F));
    }
  }
  return spelling;
}

bool unspell_bytes(std::string_view spelling, std::string& bytes) {
  bytes.clear();
  for (size_t at = 0; at < spelling.size();) {
    uint32_t character = 0;
    const int length = utf8_character(spelling, at, character);
    if (length == 0 || character >= kAlphabet.byte.size() || kAlphabet.byte[character] < 0)
      return false;
    bytes += static_cast<char>(kAlphabet.byte[character]);
    at += length;
  }
  return true;
}

uint8_t byte_of_rank(int rank) { return kAlphabet.byte_of_rank[rank]; }

}  // namespace evomoe
