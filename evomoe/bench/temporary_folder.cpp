#include "evomoe/bench/temporary_folder.h"

#include <cstdlib>
#include <cstring>

#include "evomoe/base/error.h"

namespace evomoe::bench {

TemporaryFolder::TemporaryFolder(const std::string& parent) {
  const auto folder =
      parent.empty() ? std::filesystem::temp_directory_path() : std::filesystem::path(parent);
  auto name = (folder / "evomoe-bench-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    fail("{}: no folder can be made there ({}); choose another one with --folder", folder.string(),
         std::strerror(errno));
  }
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace evomoe::bench
