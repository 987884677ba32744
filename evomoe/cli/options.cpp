#include "evomoe/cli/options.h"

#include <fmt/format.h>

#include <filesystem>
#include <ostream>

#include "evomoe/base/error.h"
#include "evomoe/base/write_file.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/command_tables.h"
#include "evomoe/cli/completion.h"
#include "evomoe/cli/manual.h"
#include "evomoe/cli/parse.h"
#include "evomoe/config/describe.h"
#include "evomoe/legacy/migration.h"

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
  for (const auto& command : all_commands())
    write("man/man1/evomoe-" + command.name + ".1", manual(command.name, tables));
  write("bash-completion/completions/evomoe", completion("bash", tables));
  write("zsh/site-functions/_evomoe", completion("zsh", tables));
}

}  // namespace

void OptionsFlags::describe(OptionTable& table) {
  table.add("markdown", &markdown,
            "The reference page of all options, docs/options.md; also if nothing is given.");
  table.add("migration", &migration, "What happens to each flag of fairseq, docs/migration.md.");
  std::vector<std::string> pages = {"evomoe"};
  for (const auto& command : all_commands()) pages.push_back(command.name);
  table
      .add(
          "man", &man,
          "The manual page of a command, or of the program: evomoe options --man train | man -l -.")
      .choices(pages)
      .bare("evomoe");
  table.add("completion", &completion, "The script that completes command lines in this shell.")
      .choices({"bash", "zsh"});
  table
      .add("destdir", &destdir,
           "Writes all manual pages and completions into this folder, as /usr/share has them: "
           "man/man1/, bash-completion/completions/ and zsh/site-functions/.")
      .metavar("FOLDER");
  table.example("source <(evomoe options --completion bash)",
                "complete command lines in this bash");
  table.example("evomoe options --destdir ~/.local/share",
                "manual pages and completions for yourself");
}

int options_command(const std::vector<std::string>& arguments) {
  OptionsFlags flags;
  if (!parse_command("options", arguments, flags)) return 0;
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
