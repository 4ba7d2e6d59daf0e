#!/usr/bin/env bash
# Installs what the project is built from: packages of Debian 12 (or a system with the same package names).
# Does nothing where all is there.
#
# usage: scripts/setup.sh [--venv]
#   --venv  also makes build/venv with the packages of scripts/requirements.txt from PyPI. They serve comparisons only:
#           where they cannot be had, this says so and succeeds.
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

# ocl-icd-opencl-dev and libomp-dev: oneDNN's CMake package asks for OpenCL, and for the compiler's OpenMP (clang's is libomp).
packages=(
  build-essential clang clang-format clang-tidy cmake ninja-build ccache git ca-certificates pkg-config
  libdnnl-dev ocl-icd-opencl-dev libomp-dev nlohmann-json3-dev rapidjson-dev libtomlplusplus-dev libcli11-dev libfmt-dev libicu-dev libzstd-dev
  libgtest-dev libgmock-dev python3 python3-venv unzip zstd
)

install_packages() {
  command -v dpkg-query >/dev/null || die "not a Debian system; install by hand what these packages hold: ${packages[*]}"
  local package missing=() as_root=()
  for package in "${packages[@]}"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  if [[ ${#missing[@]} -eq 0 ]]; then
    echo "setup: all ${#packages[@]} packages are installed"
    return
  fi
  if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null || die "packages are missing and there is no sudo; as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  echo "setup: installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq || echo "setup: apt-get update failed; going on with the lists that are there" >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    die "apt-get could not install: ${missing[*]}"
}

install_venv() {
  make_venv
  if cmp -s scripts/requirements.txt build/venv/requirements.txt; then
    echo "setup: build/venv is ready"
  elif build/venv/bin/python -m pip install --quiet --disable-pip-version-check --retries 1 -r scripts/requirements.txt; then
    cp scripts/requirements.txt build/venv/requirements.txt
    echo "setup: build/venv is ready"
  else
    echo "setup: missing: $(grep -v '^#' scripts/requirements.txt | paste -sd ' '); the comparison with ONNX Runtime will be skipped" >&2
  fi
}

case "${1:-}" in
  "") install_packages ;;
  --venv)
    install_packages
    install_venv
    ;;
  *) die "unknown argument $1; usage: scripts/setup.sh [--venv]" ;;
esac
