#include "tests/fuzz/pickle_seeds.h"

#include <caffe2/serialize/inline_container.h>

#include <array>

#include "evomoe/fairseq/torch_file_writer.h"

namespace evomoe::fuzz {
namespace {

using Entries = std::vector<std::pair<PickleValue, PickleValue>>;

template <typename T>
PickleValue of(T value) {
  PickleValue result;
  result.value = std::move(value);
  return result;
}
PickleValue text(const std::string& value) { return of(value); }
PickleValue number(int64_t value) { return of(value); }

PickleValue list(std::vector<PickleValue> items) { return of(std::move(items)); }

PickleValue dict(const Entries& entries) {
  PickleValue::Dict dict;
  for (const auto& [key, value] : entries) {
    dict.keys.push_back(key);
    dict.values.push_back(value);
  }
  return of(std::move(dict));
}

PickleValue tensor(const std::vector<int64_t>& shape) {
  return of(torch::arange(kStorageElements).to(torch::kFloat).view(shape));
}

PickleValue adam(const std::vector<int64_t>& shape) {
  return dict({{text("step"), number(3)},
               {text("exp_avg"), tensor(shape)},
               {text("exp_avg_sq"), tensor(shape)}});
}

PickleValue checkpoint(const Entries& model, const Entries& states, Entries more = {}) {
  Entries entries = {
      {text("cfg"),
       dict({{text("model"), dict({{text("moe_expert_count"), number(2)}})},
             {text("distributed_training"), dict({{text("distributed_world_size"), number(2)}})}})},
      {text("model"), dict(model)},
      {text("optimizer_history"), list({dict({{text("num_updates"), number(3)}})})},
      {text("extra_state"), dict({{text("best"), of(2.5)},
                                  {text("previous_training_time"), of(1.5)},
                                  {text("train_iterator"), dict({{text("epoch"), number(2)}})}})},
      {text("last_optimizer_state"), dict({{text("state"), dict(states)}})}};
  entries.insert(entries.end(), more.begin(), more.end());
  return dict(entries);
}

}  // namespace

PickleValue fairseq_file_with(const std::string& name) {
  return checkpoint({{text("decoder.embed_tokens.weight"), tensor({3, 4})},
                     {text(name), tensor({4, 3})},
                     {text("decoder.version"), tensor({12})}},
                    {{number(0), adam({3, 4})}, {number(1), adam({4, 3})}});
}

std::vector<PickleValue> fairseq_files() {
  const std::string expert = "decoder.layers.1.moe_layer.experts.0.";
  return {
      fairseq_file_with("decoder.layers.0.fc1.weight"),
      checkpoint({{text(expert + "fc1.weight"), tensor({4, 3})},
                  {text(expert + "fc1.bias"), tensor({12})},
                  {text(expert + "fc2.weight"), tensor({3, 4})}},
                 {}),
      checkpoint(
          {{text("decoder._flat_param_0"), tensor({12})}}, {{number(0), adam({12})}},
          {{text("shard_metadata"),
            dict({{text("param_metadata"),
                   list({dict({{text("fsdp_path"), text("decoder")},
                               {text("params"),
                                dict({{text("_flat_param_0"),
                                       dict({{text("names"), list({text("a"), text("b")})},
                                             {text("shapes"), list({list({number(4), number(5)}),
                                                                    list({number(3)})})},
                                             {text("numels"), list({number(20), number(3)})},
                                             {text("padding"), number(0)}})}})}})})}})}})};
}

std::string pickle_of(const PickleValue& value, const std::filesystem::path& folder) {
  const auto path = folder / "seed.pt";
  write_torch_file(path, value);
  caffe2::serialize::PyTorchStreamReader reader(path.string());
  const auto [data, size] = reader.getRecord("data.pkl");
  std::filesystem::remove(path);
  return {static_cast<const char*>(data.get()), size};
}

void write_torch_zip(const std::filesystem::path& path, const std::string& pickle) {
  std::array<float, kStorageElements> storage{};
  caffe2::serialize::PyTorchStreamWriter writer(path.string());
  writer.writeRecord("data.pkl", pickle.data(), pickle.size());
  for (int i = 0; i < 12; ++i) {
    storage[0] = static_cast<float>(i);
    writer.writeRecord("data/" + std::to_string(i), storage.data(), sizeof storage);
  }
  writer.writeEndOfFile();
}

}  // namespace evomoe::fuzz
