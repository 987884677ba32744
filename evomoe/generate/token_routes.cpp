#include "evomoe/generate/token_routes.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <unordered_map>
#include <utility>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/data/data_folders.h"
#include "evomoe/text/token_text.h"
#include "evomoe/train/batches.h"
#include "evomoe/train/task.h"
#include "evomoe/train/validation.h"

namespace evomoe {
namespace {

using nlohmann::ordered_json;

constexpr size_t kTextTokens = 1000;    // of the text that is shown
constexpr size_t kWeightsOfAToken = 4;  // the largest ones
constexpr size_t kTypicalTokens = 8;    // of an expert
constexpr int64_t kLeastCount = 3;      // of a token at an expert, to be typical of it

/// What one layer does with the tokens.
struct LayerRoutes {
  int64_t layer = 0, experts = 0;
  std::vector<std::vector<std::pair<int64_t, float>>> text;  ///< (expert, weight) of each token
  /// Assignments, by token and expert.
  std::unordered_map<int64_t, std::vector<int64_t>> count;
};

/// The real tokens of a batch: their rows, and ids.
struct RealTokens {
  std::vector<int64_t> row, id;
};

RealTokens real_tokens(const RoutingContext& context) {
  const auto id_T = context.token_id_T.to(torch::kCPU).contiguous();
  const auto valid_T = context.valid_T.defined() ? context.valid_T.to(torch::kCPU).contiguous()
                                                 : torch::ones_like(id_T, torch::kBool);
  RealTokens tokens;
  for (int64_t t = 0; t < id_T.numel(); ++t) {
    if (!valid_T.data_ptr<bool>()[t]) continue;
    tokens.row.push_back(t);
    tokens.id.push_back(id_T.data_ptr<int64_t>()[t]);
  }
  return tokens;
}

void add_routes(LayerRoutes& layer, const Routing& routing, const RoutingContext& context) {
  const auto tokens = real_tokens(context);
  const auto T = context.token_id_T.numel();
  std::vector<int64_t> place_T(static_cast<size_t>(T), -1);  // among the real tokens
  for (size_t i = 0; i < tokens.row.size(); ++i)
    place_T[static_cast<size_t>(tokens.row[i])] = static_cast<int64_t>(i);
  std::vector<std::vector<std::pair<int64_t, float>>> routes(tokens.row.size());
  const auto token_A = routing.token_A.to(torch::kCPU).contiguous();
  const auto weight_A = routing.weight_A.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  const auto* offset_E1 = routing.offset_E1.data_ptr<int64_t>();
  layer.experts = routing.num_experts();
  for (int64_t expert = 0; expert < layer.experts; ++expert) {
    for (int64_t a = offset_E1[expert]; a < offset_E1[expert + 1]; ++a) {
      const auto place = place_T[static_cast<size_t>(token_A.data_ptr<int64_t>()[a])];
      if (place < 0) continue;
      const auto i = static_cast<size_t>(place);
      routes[i].emplace_back(expert, weight_A.data_ptr<float>()[a]);
      auto& count = layer.count[tokens.id[i]];
      count.resize(static_cast<size_t>(layer.experts));
      ++count[static_cast<size_t>(expert)];
    }
  }
  for (auto& route : routes) {
    if (layer.text.size() == kTextTokens) break;
    std::sort(route.begin(), route.end(),
              [](const auto& a, const auto& b) { return a.second > b.second; });
    if (route.size() > kWeightsOfAToken) route.resize(kWeightsOfAToken);
    layer.text.push_back(std::move(route));
  }
}

/// What stands for a token in running text; `</s>` ends a line.
std::string text_of(const LoadedModel& loaded, int64_t token) {
  if (token == Dictionary::kEos) return "\n";
  const auto& symbol = loaded.dictionary.symbol(token);
  if (loaded.bpe == nullptr || !bpe_token_of(symbol))
    return loaded.bpe == nullptr ? symbol + " " : symbol;
  return decoded_text(loaded.bpe.get(), symbol);
}

/// [[token, count, share], ...] of each expert.
ordered_json typical_tokens(const LoadedModel& loaded, const LayerRoutes& layer) {
  const auto E = static_cast<size_t>(layer.experts);
  std::vector<double> total_E(E);
  double total = 0;
  for (const auto& [token, count_E] : layer.count) {
    for (size_t e = 0; e < E; ++e) total_E[e] += static_cast<double>(count_E[e]);
  }
  for (const double of_expert : total_E) total += of_expert;
  struct Typical {
    double score, share;
    int64_t token, count;
  };
  std::vector<std::vector<Typical>> typical_E(E);
  for (const auto& [token, count_E] : layer.count) {
    double all = 0;
    for (const auto count : count_E) all += static_cast<double>(count);
    for (size_t e = 0; e < E; ++e) {
      if (count_E[e] < kLeastCount) continue;
      const auto count = static_cast<double>(count_E[e]);
      const double gain = std::log(count / all / (total_E[e] / total));
      if (gain > 0) typical_E[e].push_back({count * gain, count / all, token, count_E[e]});
    }
  }
  auto json = ordered_json::array();
  for (auto& typical : typical_E) {
    std::sort(typical.begin(), typical.end(), [](const Typical& a, const Typical& b) {
      return a.score != b.score ? a.score > b.score : a.token < b.token;
    });
    auto list = ordered_json::array();
    for (size_t i = 0; i < std::min(typical.size(), kTypicalTokens); ++i) {
      list.push_back({text_of(loaded, typical[i].token), typical[i].count,
                      std::round(1000 * typical[i].share) / 1000});
    }
    json.push_back(std::move(list));
  }
  return json;
}

/// At most kLayersShown of the layers, the first and the last among them.
std::vector<size_t> shown_layers(size_t layers) {
  std::vector<size_t> shown;
  const auto count = std::min(layers, kLayersShown);
  for (size_t i = 0; i < count; ++i)
    shown.push_back(count == 1 ? 0 : i * (layers - 1) / (count - 1));
  return shown;
}

}  // namespace

ordered_json token_routes(const LoadedModel& loaded, const std::string& subset, int64_t tokens) {
  const auto name = loaded.path.string();
  EVOMOE_CHECK(std::dynamic_pointer_cast<EncoderDecoderImpl>(loaded.model) == nullptr,
               "--tokens: {} is an encoder-decoder; this is for models that read one text", name);
  auto layers = loaded.model->moe_layers();
  EVOMOE_CHECK(
      !layers.empty() && !layers.front().second->in_shared_expert_stage(),
      "--tokens: {} is in the shared-expert stage (or has no experts): there is nothing to "
      "choose between yet",
      name);
  auto options = loaded.options;
  const auto folder = split_data_paths(options.data).front();
  EVOMOE_CHECK(std::filesystem::exists(folder),
               "--tokens: {} was trained on {}, which is not there; run evomoe report where it is",
               name, folder.string());
  const auto data = open_task_data(options.data, options);
  const auto dataset = data->open(subset, /*combine=*/false, /*pad_to_batch_size=*/0);
  auto iterator = iterator_options(options, /*training=*/false);
  EpochIterator batches(dataset, iterator);
  batches.start_epoch(1);

  std::vector<LayerRoutes> routes;
  const auto shown = shown_layers(layers.size());
  for (const auto at : shown)
    routes.push_back({.layer = layers[at].first, .text = {}, .count = {}});
  std::vector<int64_t> ids;     // of the text
  std::vector<int64_t> begins;  // of its sequences
  int64_t routed = 0, sequence = 0;
  for (size_t i = 0; i < shown.size(); ++i) {
    layers[shown[i]].second->watch_routing(
        [&, i](const Routing& routing, const RoutingContext& context) {
          add_routes(routes[i], routing, context);
          if (i > 0) return;
          const auto real = real_tokens(context);
          routed += static_cast<int64_t>(real.id.size());
          int64_t before = -1;
          for (size_t t = 0; t < real.id.size() && ids.size() < kTextTokens; ++t) {
            const auto of = sequence > 0 ? real.row[t] / sequence : 0;
            if (of != before) begins.push_back(static_cast<int64_t>(ids.size()));
            before = of;
            ids.push_back(real.id[t]);
          }
        });
  }
  const Criterion criterion(options.criterion, Dictionary::kPad,
                            options.task.classification_head_name);
  while (routed < tokens) {
    const auto group = batches.next_update();
    if (!group) break;
    sequence = group->front().columns;
    evaluate_batch(*loaded.model, criterion, options, group->front(), loaded.device,
                   /*as_trained=*/false, loaded.updates);
  }
  for (const auto at : shown) layers[at].second->watch_routing({});

  ordered_json json;
  json["subset"] = subset;
  json["tokens"] = routed;
  json["update"] = loaded.updates;
  json["text"] = ordered_json::array();
  for (const auto id : ids) json["text"].push_back(text_of(loaded, id));
  json["begins"] = begins;
  json["layers"] = ordered_json::array();
  for (const auto& layer : routes) {
    auto route = ordered_json::array();
    for (const auto& of_token : layer.text) {
      auto list = ordered_json::array();
      for (const auto& [expert, weight] : of_token)
        list.push_back({expert, std::round(1000.0 * weight) / 1000});
      route.push_back(std::move(list));
    }
    json["layers"].push_back({{"layer", layer.layer},
                              {"experts", layer.experts},
                              {"route", std::move(route)},
                              {"typical", typical_tokens(loaded, layer)}});
  }
  return json;
}

}  // namespace evomoe
