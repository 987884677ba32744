#include "evomoe/base/temporary_folder.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "evomoe/base/error.h"

namespace evomoe {

TemporaryFolder::TemporaryFolder(const std::string& parent, const std::string& remedy) {
  const auto folder =
      parent.empty() ? std::filesystem::temp_directory_path() : std::filesystem::path(parent);
  auto name = (folder / "evomoe-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    fail("{}: no folder can be made there ({}); {}", folder.string(), std::strerror(errno), remedy);
  }
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace evomoe
