#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace evomoe {

/// GPT-2's printable spelling of bytes: those that are printable in Latin-1 stand for themselves,
/// the others for U+0100, U+0101, ... in order (a space is U+0120, `Ġ`).
std::string spell_bytes(std::string_view bytes);

/// The inverse; false when `spelling` holds a character that stands for no byte.
bool unspell_bytes(std::string_view spelling, std::string& bytes);

/// The byte with number `rank` in GPT-2's order (the printable ones first); its id in a vocabulary
/// we train.
uint8_t byte_of_rank(int rank);

}  // namespace evomoe
