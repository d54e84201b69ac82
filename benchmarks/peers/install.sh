#!/bin/bash
# Installs the peers of `make bench-backtest`: install.sh PYTHON. A peer that does not install is
# named, the others go on; the benchmark then says that it is not there.
set -euo pipefail

python=$1
here=$(cd "$(dirname "$0")" && pwd)
home=$here/../../.venv-peers

fill() { # fill ENVIRONMENT REQUIREMENTS
  [ -x "$1/bin/python" ] || "$python" -m venv "$1"
  local wanted
  grep -v '^#' "$2" | while read -r wanted; do
    if "$1/bin/python" -m pip install --quiet --disable-pip-version-check "$wanted"; then
      echo "$wanted: installed"
    else
      echo "$wanted: does not install here"
    fi
  done
}

fill "$home" "$here/requirements.txt"
fill "$home/nautilus" "$here/requirements-nautilus.txt"
