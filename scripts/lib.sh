# shellcheck shell=bash
# Sourced by the scripts beside it: strict mode, the project's root as the current folder, and where models and data are.
set -euo pipefail
[[ -z ${DYADIC_MODELS:-} ]] || DYADIC_MODELS=$(realpath -m "$DYADIC_MODELS")
[[ -z ${DYADIC_DATA:-} ]] || DYADIC_DATA=$(realpath -m "$DYADIC_DATA")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DYADIC_MODELS=${DYADIC_MODELS:-$PWD/build/models}
# Optional evaluation data: the folder ../shared/data beside the project, where there is one.
if [[ -z ${DYADIC_DATA:-} && -d ../shared/data ]]; then DYADIC_DATA=$(realpath ../shared/data); fi
export DYADIC_DATA=${DYADIC_DATA:-}

# The compiler cache serves every checkout of the project: paths are made relative, the folder's name is left out.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

say() { printf '\n=== %s\n' "$*"; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# build/venv: a Python with pip, made by the first Python that can make one. Quiet when it is there.
make_venv() {
  local python
  for python in python3 /usr/bin/python3; do
    if build/venv/bin/python -m pip --version >/dev/null 2>&1; then return 0; fi
    rm -rf build/venv
    "$python" -m venv build/venv >/dev/null 2>&1 || true
  done
  build/venv/bin/python -m pip --version >/dev/null 2>&1 ||
    die "no Python that can make a virtual environment; scripts/setup.sh installs python3-venv"
}
