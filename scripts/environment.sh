# Sourced by scripts/demo and scripts/test: a virtual environment in .venv with maeum in it. Changes to the repository's root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1

# find_python: the first Python >= 3.11; $PYTHON if it is set.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "maeum needs Python 3.11 or newer. On Debian: apt-get install python3 python3-venv" >&2
  return 1
}

# install MODE WHAT...: pip install WHAT into .venv, unless this very source is installed there already.
# An editable installation (mode "test") serves the demo too.
install() {
  local mode=$1 stamp=.venv/installed-by-scripts source
  shift
  source=$(cat pyproject.toml ci/constraints.txt | cksum)
  if [ "$mode" = demo ]; then
    [ -x .venv/bin/maeum ] && [ "$(cat "$stamp" 2>/dev/null)" = "test $source" ] && return
    source=$(find src README.md LICENSE pyproject.toml ci/constraints.txt -type f -not -name '*.pyc' -exec cksum {} + | sort | cksum)
  fi
  [ -x .venv/bin/maeum ] && [ "$(cat "$stamp" 2>/dev/null)" = "$mode $source" ] && return
  if [ ! -x .venv/bin/python ]; then
    local python
    python=$(find_python)
    "$python" -m venv .venv || {
      rm -rf .venv
      echo "The virtual environment cannot be made. On Debian: apt-get install python3-venv" >&2
      return 1
    }
  fi
  rm -f "$stamp"
  echo "Installing into .venv (the first time takes some minutes) ..." >&2
  .venv/bin/python -m pip install --quiet -c ci/constraints.txt "$@"
  echo "$mode $source" >"$stamp"
}
