#include "evomoe/fairseq/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/safetensors.h"
#include "evomoe/fairseq/torch_file_writer.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

PickleValue of(auto value) {
  PickleValue result;
  result.value = std::move(value);
  return result;
}

PickleValue sample() {
  PickleValue::Dict dict;
  const auto add = [&](const std::string& key, PickleValue value) {
    dict.keys.push_back(of(key));
    dict.values.push_back(std::move(value));
  };
  add("int", of(int64_t{-5'000'000'000}));
  add("real", of(0.1));
  add("yes", of(true));
  add("none", {});
  add("list", of(PickleValue::List{of(std::string("ü")), of(int64_t{1})}));
  add("scalar", of(torch::tensor(2.5)));
  add("empty", of(torch::zeros({0, 3})));
  for (const auto type :
       {torch::kFloat64, torch::kFloat32, torch::kFloat16, torch::kBFloat16, torch::kInt64,
        torch::kInt32, torch::kInt16, torch::kInt8, torch::kUInt8, torch::kBool}) {
    add(c10::toString(type), of(torch::arange(6).view({2, 3}).t().to(type)));
  }
  return of(dict);
}

TEST(TorchFile, WhatIsWrittenIsReadAgain) {
  testing::TemporaryFolder folder;
  const auto written = sample();
  write_torch_file(folder / "x.pt", written);
  const auto read = read_torch_file(folder / "x.pt");
  EXPECT_EQ(*read.find("int")->get_if<int64_t>(), -5'000'000'000);
  EXPECT_EQ(*read.find("real")->get_if<double>(), 0.1);
  EXPECT_TRUE(*read.find("yes")->get_if<bool>());
  EXPECT_NE(read.find("none")->get_if<std::monostate>(), nullptr);
  EXPECT_EQ(*read.find("list")->get_if<PickleValue::List>()->at(0).get_if<std::string>(), "ü");
  const auto& dict = *written.get_if<PickleValue::Dict>();
  int tensors = 0;
  for (size_t i = 0; i < dict.keys.size(); ++i) {
    const auto* tensor = dict.values[i].get_if<torch::Tensor>();
    if (tensor == nullptr) continue;
    const auto& key = *dict.keys[i].get_if<std::string>();
    const auto& again = *read.find(key)->get_if<torch::Tensor>();
    EXPECT_EQ(again.scalar_type(), tensor->scalar_type()) << key;
    EXPECT_TRUE(again.equal(*tensor)) << key;
    ++tensors;
  }
  EXPECT_EQ(tensors, 12);
}

/// A command that runs Python with torch; empty where there is none.
std::string torch_command() {
  const auto python = testing::python().string();
  return testing::run_command(python + " -c 'import torch'").exit_code == 0 ? python + " -W ignore "
                                                                            : "";
}

TEST(TorchFile, TorchLoadsWhatIsWritten) {
  const auto python = torch_command();
  if (python.empty()) GTEST_SKIP() << "no torch in " << testing::python();
  testing::TemporaryFolder folder;
  write_torch_file(folder / "x.pt", sample());
  const auto result = testing::run_command(
      python + "-c \"import torch; d = torch.load('" + (folder / "x.pt").string() +
      "', weights_only=True); print(d['int'], d['real'], d['yes'], d['none'], "
      "d['BFloat16'].tolist(), d['Bool'].dtype, list(d['empty'].shape))\"");
  EXPECT_EQ(result.out,
            "-5000000000 0.1 True None [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] torch.bool [0, 3]\n")
      << result.err;
}

/// Values that Python and torch write, each of which some checkpoint has. argv: folder.
constexpr auto* kMakeInert = R"(
import argparse, collections, datetime, decimal, enum, fractions, pathlib, random, sys, types, uuid
import torch

class Choice(enum.Enum):
    one = 1

class Flags(enum.IntFlag):
    a = 1

class Slots:
    __slots__ = 'a', 'b'
    def __init__(self): self.a = 1

class Reduced:
    def __reduce__(self): return (types.SimpleNamespace, (), {'a': 1}, iter([1]), iter([(2, 3)]))

class WithKeywords:
    def __new__(cls, *, a): return super().__new__(cls)
    def __getnewargs_ex__(self): return (), {'a': 1}

class MyDict(collections.OrderedDict): pass
class MyList(list): pass
class MyInt(int): pass
class MyTensor(torch.Tensor): pass

point = collections.namedtuple('point', 'x y')
loop = []
loop.append(loop)
deep = []
for _ in range(300): deep = [deep]
ordered = collections.OrderedDict(a=1)
ordered.attribute = 2
parent = types.SimpleNamespace()
parent.child = types.SimpleNamespace(parent=parent)
inert = {
    'bytes': b'abc', 'long bytes': bytes(70000), 'bytearray': bytearray(b'abc'), 'big': 2**64,
    'bigger': -3**5000, 'counter': collections.Counter('abca'),
    'defaultdict': collections.defaultdict(list, a=[1]), 'deque': collections.deque([1], 5),
    'ordered': ordered, 'chain': collections.ChainMap({1: 2}), 'device': torch.device('cuda', 1),
    'dtype': torch.bfloat16, 'size': torch.Size([2, 3]), 'layout': torch.strided,
    'path': pathlib.Path('/a/b'),
    'pure path': pathlib.PureWindowsPath('a'), 'time': datetime.datetime(2026, 1, 2),
    'delta': datetime.timedelta(seconds=3), 'date': datetime.date(2026, 1, 2),
    'zone': datetime.timezone.utc, 'decimal': decimal.Decimal('1.5'),
    'fraction': fractions.Fraction(1, 3), 'set': {1, 2}, 'frozenset': frozenset({1}),
    'complex': 1j, 'enum': Choice.one, 'flags': Flags.a, 'slice': slice(1, 2), 'range': range(5),
    'namespace': argparse.Namespace(a=argparse.Namespace(b=1)), 'simple': parent,
    'ellipsis': ..., 'not implemented': NotImplemented, 'none type': type(None), 'class': Slots,
    'function': random.random, 'builtin': len, 'slots': Slots(), 'reduced': Reduced(),
    'keywords': WithKeywords(a=1), 'my dict': MyDict(a=1), 'my list': MyList([1]), 'my int': MyInt(1),
    'point': point(1, 2), 'uuid': uuid.uuid4(), 'random': random.Random(1), 'loop': loop,
    'deep': deep, 'exception': ValueError('x'), 'nan': float('nan'), 'surrogate': 'a\udcffb',
    'generator state': torch.get_rng_state(), 'sparse': torch.eye(3).to_sparse(),
    'csr': torch.eye(3).to_sparse_csr(), 'quantized': torch.quantize_per_tensor(torch.ones(2), .1, 0,
    torch.qint8), 'complex tensor': torch.ones(2, dtype=torch.complex64),
    'uint16': torch.ones(2, dtype=torch.uint16), 'float8': torch.ones(2).to(torch.float8_e5m2),
    'meta': torch.ones(2, device='meta'), 'my tensor': torch.ones(2).as_subclass(MyTensor),
    'storage': torch.ones(2).untyped_storage(), 'typed storage': torch.ones(2).storage(),
    'conjugated': torch.ones(2, dtype=torch.complex64).conj(),
    (1, 2): 3, None: 4, Choice.one: 5, 2**70: 6, b'key': 7, 1.5: 8,
}
base = torch.arange(24.).view(4, 6)
weird = torch.nn.Parameter(base.clone())
weird.attribute = 1
needed = {
    'expanded': torch.arange(3.).expand(4, 3), 'expanded scalar': torch.tensor(2.).expand(2, 2),
    'transposed': base.t(), 'slice': base[1:3, ::2], 'windows': base.view(-1).unfold(0, 5, 2),
    'empty': torch.zeros(0, 3), 'empty slice': base[3:3, 1:], 'nothing': base[4:, 6:],
    'scalar': torch.tensor(3.), 'parameter': torch.nn.Parameter(base), 'attribute': weird,
    'buffer': torch.nn.Buffer(base), 'half': base.half(), 'same': base,
}
needed['contiguous'] = {k: v.detach().clone().contiguous() for k, v in needed.items()}
for protocol in 2, 3, 4, 5:
    torch.save({'inert': inert, 'needed': needed, 'last': 7}, f'{sys.argv[1]}/{protocol}.pt',
               pickle_protocol=protocol)
)";

TEST(TorchFile, WhateverPythonStoresBesideWhatIsNeededIsSkipped) {
  const auto python = torch_command();
  if (python.empty()) GTEST_SKIP() << "no torch in " << testing::python();
  testing::TemporaryFolder folder;
  testing::write_text(folder / "make.py", kMakeInert);
  const auto made =
      testing::run_command(python + (folder / "make.py").string() + " " + folder.path().string());
  ASSERT_EQ(made.exit_code, 0) << made.err;
  for (const int protocol : {2, 3, 4, 5}) {
    SCOPED_TRACE(protocol);
    const auto value = read_torch_file(folder / (std::to_string(protocol) + ".pt"));
    EXPECT_EQ(*value.find("last")->get_if<int64_t>(), 7);
    const auto& inert = *value.find("inert");
    for (const auto& [key, type] : std::vector<std::pair<std::string, std::string>>{
             {"counter", "collections.Counter"},
             {"path", "pathlib.PosixPath"},
             {"time", "datetime.datetime"},
             {"enum", "__main__.Choice"},
             {"my dict", "__main__.MyDict"},
             {"device", "torch.device"},
             {"dtype", "torch.bfloat16"},
             {"bytes", "bytes"},
             {"big", "an integer of more than 64 bits"},
             {"bigger", "an integer of more than 64 bits"},
             {"sparse", "torch._utils._rebuild_sparse_tensor"},
             {"my tensor", "__main__.MyTensor"}}) {
      const auto* opaque = inert.find(key)->get_if<OpaqueValue>();
      ASSERT_NE(opaque, nullptr) << key;
      EXPECT_EQ(opaque->type, type);
      EXPECT_EQ(opaque->path, "inert." + key);
    }
    EXPECT_EQ(inert.find("ordered")->get_if<PickleValue::Dict>()->keys.size(), 1);
    const auto& needed = *value.find("needed");
    const auto& expected = *needed.find("contiguous")->get_if<PickleValue::Dict>();
    EXPECT_EQ(expected.keys.size(), 14);
    for (size_t i = 0; i < expected.keys.size(); ++i) {
      const auto& key = *expected.keys[i].get_if<std::string>();
      const auto* tensor = needed.find(key)->get_if<torch::Tensor>();
      ASSERT_NE(tensor, nullptr) << key << " " << kind_of(*needed.find(key));
      EXPECT_TRUE(tensor->equal(*expected.values[i].get_if<torch::Tensor>())) << key;
    }
    EXPECT_EQ(read_torch_file(folder / (std::to_string(protocol) + ".pt"), {"last"})
                  .get_if<PickleValue::Dict>()
                  ->keys.size(),
              1);
  }
}

TEST(TorchFile, WhatIsNoFileOfTorchSaveIsToldByItsContent) {
  const testing::TemporaryFolder folder;
  const auto refused = [&](const std::string& content, const std::string& words) {
    testing::write_text(folder / "x.pt", content);
    EXPECT_THAT([&] { read_torch_file(folder / "x.pt"); }, ThrowsMessage<Error>(HasSubstr(words)));
  };
  refused("", "is empty");
  refused("\x80\x02\x8a\nl\xfc\x9c", "before PyTorch 1.6");
  refused("\x80\x04N.", "does not begin as a zip file does");
  write_safetensors(folder / "x.pt", {{"a", torch::ones({2})}});
  refused(testing::read_text(folder / "x.pt"), "--init-from");
  write_torch_file(folder / "x.pt", sample());
  const auto whole = testing::read_text(folder / "x.pt");
  refused(whole.substr(0, whole.size() / 2), "cannot be read");
}

TEST(TorchFile, AFileThatCannotBeWrittenIsNamed) {
  testing::TemporaryFolder folder;
  EXPECT_THAT([&] { write_torch_file(folder / "missing/x.pt", sample()); },
              ThrowsMessage<Error>(HasSubstr("x.pt: cannot be written")));
}

}  // namespace
}  // namespace evomoe
