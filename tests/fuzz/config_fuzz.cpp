// A YAML file, and a command line, an argument a line. What is accepted can be stored and written,
// and comes back the same.
#include <optional>
#include <sstream>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "tests/fuzz/target.h"
#include "tests/testing/paths.h"

namespace evomoe::fuzz {
namespace {

using testing::write_text;

/// A table of every type of option. That of `train` is read the same way, but takes its time.
struct Sample {
  Sample() {
    table.positional("data", &data, "");
    table.add("task", &task, "").choices({"language_modeling", "masked_lm"});
    table.group("model", "");
    table.add("arch", &arch, "");
    table.add("layers", &layers, "").at_least(1).alias("decoder-layers").alias("l");
    table.add("dropout", &dropout, "").range(0, 1);
    table.add("learned-pos", &learned, "");
    table.group("optimization", "");
    table.add("adam-betas", &betas, "").count(2).range(0, 1);
    table.add("update-freq", &freq, "").at_least(1);
    table.add("valid-subset", &subset, "");
    table.add("lr", &rate, "").above(0);
    table.add("fused", &fused, "");
    table.group("common", "");
    table.add("device", &device, "").choices({"auto", "cpu"}).synonyms({{"none", "cpu"}});
    table.add("remove-bpe", &bpe, "").bare("subword_nmt").choices({"subword_nmt", "gpt2"});
    table.shorthand("cpu", "device", "cpu", "");
    table.legacy({"world-size", true, {"1"}, "only 1 is possible", false});
    table.legacy({"no-flatten", false, {}, "nothing to flatten", false});
  }

  std::string data, task = "language_modeling", arch = "transformer_lm", device = "auto", bpe;
  int64_t layers = 6;
  std::optional<double> dropout;
  std::optional<bool> learned;
  std::vector<double> betas = {0.9, 0.999};
  std::vector<int64_t> freq = {1};
  std::vector<std::string> subset = {"valid"};
  double rate = 0.25;
  bool fused = true;
  OptionTable table{"sample", ""};
};

std::vector<std::string> config_seeds(const std::filesystem::path&) {
  Sample sample;
  sample.table.parse({"data-bin", "--arch", "a", "--adam-betas", "(0.9, 0.98)", "--lr", "0.1"});
  return {join({sample.table.to_yaml(), "--layers\n3\noptimization.update_freq=[4]"}),
          join({"task:\n  _name: language_modeling\n  data: ${model.arch}\n"
                "model: &a {layers: 3}\ncommon: *a\n"
                "defaults:\n  - model: transformer_lm/transformer_lm_gpt\n  - _self_\n",
                "x\n--no-flatten\n--update_freq=4\n+model.dropout=0.1\nhydra.run=x\n-h"}),
          join({"arch: [b, {c: d}]\n? |\n  e\n: !!int 'x'\nlr: ???\n", "--cpu\n--fused\nFalse"}),
          join({"world_size: 1\nremove_bpe: true\nvalid_subset: a,b\n", "-l\n2\n--remove-bpe"})};
}

/// Whether all of it can be in a file: YAML is UTF-8.
bool is_storable(const nlohmann::ordered_json& options) {
  try {
    options.dump();
  } catch (const nlohmann::json::exception&) {
    return false;
  }
  return true;
}

void read_config(const std::filesystem::path& folder, const std::string& bytes) {
  const auto parts = split(bytes, 2);
  const auto file = folder / "config.yaml";
  write_text(file, parts[0]);
  std::vector<std::string> arguments = {"--config", file.string()};
  std::istringstream lines(parts[1]);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("--config")) arguments.push_back(line);  // another file
  }
  Sample sample;
  if (!sample.table.parse(arguments)) return;
  const auto options = sample.table.to_json();
  Sample stored;
  stored.table.from_json(options);
  if (stored.table.to_json() != options)
    throw std::logic_error("stored options come back as others");
  if (is_storable(options)) {
    write_text(file, sample.table.to_yaml());
    Sample written;
    try {
      written.table.parse({"--config", file.string()});
    } catch (const Error& error) {
      throw std::logic_error(std::string("config.yaml cannot be read: ") + error.what());
    }
    if (written.table.to_json() != options)
      throw std::logic_error("config.yaml gives other options: " + sample.table.to_yaml());
  }
}

const Registration registration("config", {config_seeds, read_config});

}  // namespace
}  // namespace evomoe::fuzz
