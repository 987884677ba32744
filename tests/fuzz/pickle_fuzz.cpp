// Pickles of plain data and tensors, without the zip around them.
#include "evomoe/base/error.h"
#include "evomoe/fairseq/pickle_reader.h"
#include "tests/fuzz/pickle_seeds.h"
#include "tests/fuzz/target.h"

namespace evomoe::fuzz {
namespace {

using namespace std::string_literals;

std::vector<std::string> pickle_seeds(const std::filesystem::path& folder) {
  std::vector<std::string> seeds;
  for (const auto& file : fairseq_files()) seeds.push_back(pickle_of(file, folder));
  // As Python writes them: protocol 4 with frames and a memo, and older ways.
  seeds.push_back(
      "\x80\x04\x95\x20\0\0\0\0\0\0\0}\x94(\x8c\x01\x61\x94K\x01\x8c\x01\x62\x94]\x94("
      "G?\xf8\0\0\0\0\0\0NeM\x01\x02\x8a\x02\xff\x7f\x85\x94u."s);
  seeds.push_back(
      "\x80\x02"
      "cargparse\nNamespace\nq\0)\x81q\1}q\2(X\x02\0\0\0lrq\3K\x05U\1a\x88ub."s);
  seeds.push_back(
      "\x80\x02"
      "ccollections\nOrderedDict\nq\0)Rq\1(X\1\0\0\0aK\1X\1\0\0\0bh\1uu."s);
  seeds.push_back(
      "\x80\x04\x8f\x94(K\1K\2\x90\x8c\x08"
      "builtins\x8c\x09"
      "frozenset\x93]K\1a\x85R\x86."s);
  seeds.push_back(
      "\x80\x02"
      "c__builtin__\nset\n](K\1K\1e\x85R1(0."s);
  return seeds;
}

void count(const PickleValue& value) {
  if (const auto* list = value.get_if<PickleValue::List>()) {
    for (const auto& item : *list) count(item);
  } else if (const auto* dict = value.get_if<PickleValue::Dict>()) {
    if (dict->keys.size() != dict->values.size()) throw std::logic_error("a key without a value");
    for (const auto& item : dict->values) count(item);
  } else if (const auto* tensor = value.get_if<torch::Tensor>()) {
    if (tensor->numel() <= kStorageElements)
      tensor->clone();  // reads each; the others are expanded
  }
}

void read_plain_pickle(const std::filesystem::path&, const std::string& bytes) {
  count(read_pickle(bytes, "x", [](const std::string&, torch::ScalarType type, int64_t elements) {
    EVOMOE_CHECK(elements == kStorageElements, "x: a storage of {} elements", elements);
    return torch::zeros({elements}, type);
  }));
}

const Registration registration("pickle", {pickle_seeds, read_plain_pickle});

}  // namespace
}  // namespace evomoe::fuzz
