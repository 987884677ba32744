#include "evomoe/parallel/gather_text.h"

#include <numeric>
#include <utility>

namespace evomoe {
namespace {

/// `bytes` in pieces of the lengths `sent_P`; returns what the others send to this rank.
std::string exchange(std::string bytes, const std::vector<int64_t>& sent_P,
                     const std::vector<int64_t>& received_P, Communicator& communicator) {
  const auto rows = torch::from_blob(bytes.data(), {static_cast<int64_t>(bytes.size())},
                                     torch::TensorOptions(torch::kUInt8));
  const auto received = communicator.all_to_all(rows, sent_P, received_P).contiguous();
  const auto* const data = reinterpret_cast<const char*>(received.data_ptr<uint8_t>());
  return {data, static_cast<size_t>(received.numel())};
}

}  // namespace

std::vector<std::string> gather_texts(std::string own, Communicator& communicator) {
  if (communicator.size() == 1) return {std::move(own)};
  const auto ranks = static_cast<size_t>(communicator.size());
  const auto rank = static_cast<size_t>(communicator.rank());
  const auto length_P = communicator.all_gather(static_cast<double>(own.size()));
  std::vector<int64_t> sent_P(ranks), received_P(ranks);
  sent_P[0] = static_cast<int64_t>(own.size());
  if (rank == 0) received_P.assign(length_P.begin(), length_P.end());
  const auto all = exchange(std::move(own), sent_P, received_P, communicator);
  std::vector<std::string> texts;
  if (rank > 0) return texts;
  size_t at = 0;
  for (const auto length : received_P) {
    texts.push_back(all.substr(at, static_cast<size_t>(length)));
    at += static_cast<size_t>(length);
  }
  return texts;
}

std::string text_of_first_rank(std::string text, Communicator& communicator) {
  if (communicator.size() == 1) return text;
  const auto ranks = static_cast<size_t>(communicator.size());
  const bool is_first = communicator.rank() == 0;
  double length = is_first ? static_cast<double>(text.size()) : 0;
  communicator.all_reduce_sum(length);
  const auto bytes = static_cast<int64_t>(length);
  std::vector<int64_t> sent_P(ranks, is_first ? bytes : 0), received_P(ranks);
  received_P[0] = bytes;
  std::string copies;
  for (size_t rank = 0; is_first && rank < ranks; ++rank) copies += text;
  return exchange(std::move(copies), sent_P, received_P, communicator);
}

}  // namespace evomoe
