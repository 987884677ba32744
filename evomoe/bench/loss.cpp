#include "evomoe/bench/loss.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/bench/hash_data.h"
#include "evomoe/bench/machine_peak.h"
#include "evomoe/bench/process_memory.h"
#include "evomoe/bench/results.h"
#include "evomoe/ops/linear_cross_entropy.h"

namespace evomoe::bench {
namespace {

constexpr int64_t kIgnoreNone = -1;

torch::Tensor eager_loss(const torch::Tensor& x_TD, const torch::Tensor& weight_VD,
                         const torch::Tensor& target_T) {
  return torch::nn::functional::cross_entropy(
      torch::matmul(x_TD, weight_VD.t()), target_T,
      torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum));
}

/// One form of the loss, with inputs of its own.
struct Form {
  std::string impl;
  std::function<torch::Tensor(const torch::Tensor&, const torch::Tensor&, const torch::Tensor&)>
      loss;
  torch::Tensor x_TD, weight_VD, target_T;
  torch::Tensor value;
  double peak_mib = 0;
  int64_t faults = 0;
  Timing timing;

  void clear() {
    value.reset();
    x_TD.mutable_grad().reset();
    weight_VD.mutable_grad().reset();
  }
  void step() {
    // The mean over tokens, as training takes it.
    auto mean = loss(x_TD, weight_VD, target_T) / x_TD.size(0);
    mean.backward();
    value = mean.detach();
  }
  std::map<std::string, double> checksums() const {
    return {{"loss", value.item<double>()},
            {"grad_x", projection(x_TD.grad(), 101)},
            {"grad_weight", projection(weight_VD.grad(), 105)}};
  }
};

Form make_form(const std::string& impl, const LossCase& loss) {
  Form form;
  form.impl = impl;
  if (impl == "eager") {
    form.loss = eager_loss;
  } else {
    form.loss = [](const torch::Tensor& x, const torch::Tensor& weight,
                   const torch::Tensor& target) {
      return linear_cross_entropy(x, weight, target, kIgnoreNone);
    };
  }
  form.x_TD = hash_tensor(1, {loss.tokens, loss.dim}).requires_grad_();
  form.weight_VD =
      hash_tensor(1000, {loss.vocab, loss.dim}, std::sqrt(3.0 / static_cast<double>(loss.dim)))
          .requires_grad_();
  form.target_T = torch::tensor(hash_tokens(3, loss.tokens, loss.vocab), torch::kLong);
  return form;
}

/// Warm-up, in which the memory is measured: the two forms are timed in alternation later, so that
/// both meet the machine in the same mood.
void warm_up(Form& form, int64_t repeats) {
  form.step();
  form.clear();
  const PeakMemory memory;
  measure([&] { form.step(); }, std::max<int64_t>(1, repeats), [&] { form.clear(); });
  form.peak_mib = memory.peak_mib();
  form.clear();
}

void measure_loss(const LossCase& loss, const RunOptions& options, const MachinePeak& peak,
                  Results& results) {
  std::vector<Form> forms = {make_form("evomoe", loss), make_form("eager", loss)};
  for (auto& form : forms) warm_up(form, options.warmup);
  double spent = 0;
  for (int64_t i = 0; i < options.repeats && (i < 3 || spent < options.budget_s * 1e3); ++i) {
    for (auto& form : forms) {
      form.clear();
      const auto faults = minor_faults();
      form.timing.samples_ms.push_back(milliseconds([&] { form.step(); }));
      form.faults += minor_faults() - faults;
      spent += form.timing.samples_ms.back();
    }
  }
  std::vector<std::map<std::string, double>> checksums;
  for (auto& form : forms) {
    checksums.push_back(form.checksums());
    Result result;
    result.impl = form.impl;
    result.case_label = loss.label();
    result.timing = form.timing;
    result.faults = form.faults;
    result.peak_mib = form.peak_mib;
    result.tokens = static_cast<double>(loss.tokens);
    result.gflop = 3 * 2e-9 * static_cast<double>(loss.tokens * loss.dim * loss.vocab);
    for (const auto& [name, value] : checksums.back()) result.checksum[name] = significant(value);
    auto line = result_line(result, peak);
    line["times_faster_than_eager"] =
        rounded(forms.back().timing.median() / form.timing.median(), 3);
    results.add(line);
  }
  // Gradients are means: their projection is of the size of the loss at most.
  const double tolerance = 1e-4 * std::abs(checksums[1].at("loss"));
  for (const auto& [name, value] : checksums[1]) {
    EVOMOE_CHECK(std::abs(checksums[0].at(name) - value) <= tolerance,
                 "{}: the checksum {} is {}, but the plain form gives {}: the fused loss is wrong",
                 loss.label(), name, checksums[0].at(name), value);
  }
}

const std::vector<Suite<LossCase>>& loss_suites() {
  static const std::vector<Suite<LossCase>> suites = {
      {"small", {{2048, 256, 8192}}},
      {"paper", {{2048, 512, 8192}, {2048, 512, 50257}}},
      {"gpt2s", {{1024, 768, 50257}}},
  };
  return suites;
}

}  // namespace

std::string LossCase::label() const { return fmt::format("loss-T{}-D{}-V{}", tokens, dim, vocab); }

void describe(OptionTable& table, LossOptions& o) {
  table.group(kCaseGroup, "The loss");
  table.add("tokens", &o.loss.tokens, "Tokens.").at_least(1);
  table.add("dim", &o.loss.dim, "Width of a token.").at_least(1);
  table.add("vocab", &o.loss.vocab, "Vocabulary.").at_least(1);
  describe(table, o.run);
}

void run(const LossOptions& options) {
  if (options.run.list) {
    fmt::print("{}", suite_list(loss_suites()));
    return;
  }
  const auto cases = options.run.suite ? suite_cases(loss_suites(), *options.run.suite)
                                       : std::vector<LossCase>{options.loss};
  use_threads(options.run);
  Results results({{"case", "case"},
                   {"impl", "impl"},
                   {"ms_median", "median ms", 2},
                   {"ms_min", "min ms", 2},
                   {"gflops", "GFLOP/s", 1},
                   {"sgemm_gflops", "peak", 1},
                   {"sgemm_fraction", "of peak", 3},
                   {"peak_mem_mb", "MiB"},
                   {"minor_faults", "page faults"},
                   {"times_faster_than_eager", "times faster", 2}});
  MachinePeak peak(options.run.peak_seconds);
  for (const auto& one : cases) {
    peak.measure();
    measure_loss(one, options.run, peak, results);
  }
  results.print_table();
}

}  // namespace evomoe::bench
