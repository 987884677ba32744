# Sourced by the tests of this folder: where they lie ($here), a folder of their own that is deleted when they end
# ($folder), fail, skip and install_library.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() { echo "$(basename "$0" .sh): $*" >&2; exit 1; }
skip() { echo "$(basename "$0" .sh): skipped: $*"; exit 77; }

# install_library BUILD-FOLDER PREFIX
install_library() {
  cmake --install "$1" --component library --prefix "$2" >/dev/null
  [[ -d $2 ]] || skip "an instrumented build installs no library"
}
