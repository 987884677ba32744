#include "evomoe/checkpoint/xxhash64.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace evomoe {
namespace {

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87ULL;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4FULL;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9ULL;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63ULL;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5ULL;
constexpr size_t kStripe = 32;

static_assert(std::endian::native == std::endian::little, "checkpoints are written little-endian");

template <typename Word>
Word load(const char* bytes) {
  Word word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

uint64_t round(uint64_t lane, uint64_t word) {
  return std::rotl(lane + word * kPrime2, 31) * kPrime1;
}

void consume_stripe(std::array<uint64_t, 4>& lane, const char* bytes) {
  for (size_t i = 0; i < 4; ++i) lane[i] = round(lane[i], load<uint64_t>(bytes + 8 * i));
}

}  // namespace

void XxHash64::update(std::string_view bytes) {
  total_ += bytes.size();
  if (buffered_ > 0) {
    const size_t taken = std::min(kStripe - buffered_, bytes.size());
    std::copy_n(bytes.data(), taken, buffer_.data() + buffered_);
    buffered_ += taken;
    bytes.remove_prefix(taken);
    if (buffered_ < kStripe) return;
    consume_stripe(lane_, buffer_.data());
    buffered_ = 0;
  }
  auto lane = lane_;
  while (bytes.size() >= kStripe) {
    consume_stripe(lane, bytes.data());
    bytes.remove_prefix(kStripe);
  }
  lane_ = lane;
  std::copy_n(bytes.data(), bytes.size(), buffer_.data());
  buffered_ = bytes.size();
}

uint64_t XxHash64::digest() const {
  uint64_t hash = kPrime5;  // seed + prime 5, for short input
  if (total_ >= kStripe) {
    hash = std::rotl(lane_[0], 1) + std::rotl(lane_[1], 7) + std::rotl(lane_[2], 12) +
           std::rotl(lane_[3], 18);
    for (const uint64_t lane : lane_) hash = (hash ^ round(0, lane)) * kPrime1 + kPrime4;
  }
  hash += total_;

  const char* at = buffer_.data();
  const char* const end = at + buffered_;
  for (; at + 8 <= end; at += 8) {
    hash = std::rotl(hash ^ round(0, load<uint64_t>(at)), 27) * kPrime1 + kPrime4;
  }
  if (at + 4 <= end) {
    hash = std::rotl(hash ^ (load<uint32_t>(at) * kPrime1), 23) * kPrime2 + kPrime3;
    at += 4;
  }
  for (; at < end; ++at) {
    hash = std::rotl(hash ^ (static_cast<uint8_t>(*at) * kPrime5), 11) * kPrime1;
  }
  hash = (hash ^ (hash >> 33)) * kPrime2;
  hash = (hash ^ (hash >> 29)) * kPrime3;
  return hash ^ (hash >> 32);
}

uint64_t xxhash64(std::string_view bytes) {
  XxHash64 hash;
  hash.update(bytes);
  return hash.digest();
}

}  // namespace evomoe
