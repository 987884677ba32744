#include <fmt/format.h>

#include <filesystem>
#include <ostream>

#include "evomoe/base/error.h"
#include "evomoe/base/write_file.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/command_tables.h"
#include "evomoe/cli/parse.h"
#include "evomoe/config/completion.h"
#include "evomoe/config/manual.h"
#include "evomoe/config/migration.h"

namespace evomoe {
namespace {

using Tables = std::vector<std::shared_ptr<const OptionTable>>;

Tables all_tables() {
  auto tables = command_tables();
  for (auto& table : benchmark_tables()) tables.push_back(std::move(table));
  return tables;
}

std::string manual(const std::string& page, const Tables& tables) {
  if (page == "evomoe") return program_manual(EVOMOE_VERSION);
  Tables own;
  for (const auto& table : tables) {
    if (table->command() == page || table->command().starts_with(page + " ")) own.push_back(table);
  }
  return command_manual(page, own, EVOMOE_VERSION);
}

std::string completion(const std::string& shell, const Tables& tables) {
  return shell == "bash" ? bash_completion(tables) : zsh_completion(tables);
}

void write_all(const std::filesystem::path& folder, const Tables& tables) {
  const auto write = [&](const std::filesystem::path& path, const std::string& text) {
    std::filesystem::create_directories((folder / path).parent_path());
    write_file(folder / path, [&](std::ostream& out) { out << text; });
  };
  write("man/man1/evomoe.1", manual("evomoe", tables));
  for (const auto& command : command_summaries())
    write("man/man1/evomoe-" + command.name + ".1", manual(command.name, tables));
  write("bash-completion/completions/evomoe", completion("bash", tables));
  write("zsh/site-functions/_evomoe", completion("zsh", tables));
}

}  // namespace

int options_command(const std::vector<std::string>& arguments) {
  OptionsFlags flags;
  const auto bind = [](OptionTable& table, OptionsFlags& o) { describe(table, o); };
  if (!parse_command("options", arguments, flags, bind)) return 0;
  const int given = flags.markdown + flags.migration + flags.man.has_value() +
                    flags.completion.has_value() + flags.destdir.has_value();
  if (given > 1) {
    fail_usage(
        "evomoe options makes one thing at a time: give one of --markdown, --migration, --man, "
        "--completion and --destdir");
  }
  if (flags.destdir) {
    write_all(*flags.destdir, all_tables());
  } else if (flags.man) {
    fmt::print("{}", manual(*flags.man, all_tables()));
  } else if (flags.completion) {
    fmt::print("{}", completion(*flags.completion, all_tables()));
  } else {
    fmt::print("{}", flags.migration ? migration_markdown(command_tables())
                                     : options_markdown(command_tables()));
  }
  return 0;
}

}  // namespace evomoe
