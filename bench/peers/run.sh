#!/usr/bin/env bash
# Times Dyadic beside ONNX Runtime, OpenVINO, CTranslate2 and PyTorch, each in its best fp32 and int8 form, on the sentence encoder
# of the demo: builds, makes build/peers-venv with the packages of bench/peers/requirements.txt (the system's stay as they are; about
# 6 GB with PyTorch's), quantizes, checks every engine's accuracy, times, prints. Run again, it goes on where it was interrupted.
#
# usage: bench/peers/run.sh [--quick] [--threads N] [--isa avx2] [--shapes 1x128,text,start] [--peers openvino_int8,..] [--rounds N]
#                           [--one-by-one] [--again] [--json FILE] [--csv FILE] [--write docs/performance.md]
#   build/peers-venv/bin/python bench/peers/compare.py --help says what each option does
#   DYADIC_DATA    a folder with text/stsb/: texts are STS-B's then, else examples/sentences.txt
#   DYADIC_MODELS  where models are kept (default build/models)
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/../../scripts/lib.sh"

if [[ ${1:-} == --help ]]; then
  sed -n '2,/^#   DYADIC_MODELS/s/^# \?//p' bench/peers/run.sh
  exit
fi

venv=build/peers-venv
float=$DYADIC_MODELS/all-MiniLM-L6-v2
stsb=$DYADIC_DATA/text/stsb

install_peers() {
  local python package packages missing=()
  for python in python3 /usr/bin/python3; do
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 && break
    rm -rf "$venv"
    "$python" -m venv "$venv" >/dev/null 2>&1 || true
  done
  cmp -s bench/peers/requirements.txt "$venv/requirements.txt" && return
  # One after the other, so that what cannot be had leaves the rest.
  mapfile -t packages < <(grep -v '^#' bench/peers/requirements.txt)
  for package in "${packages[@]}"; do
    echo "installing $package" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --retries 1 -c bench/peers/requirements.txt "$package" >&2 ||
      missing+=("$package")
  done
  if [[ ${#missing[@]} -eq 0 ]]; then
    cp bench/peers/requirements.txt "$venv/requirements.txt"
  else
    echo "cannot be installed: ${missing[*]}" >&2
  fi
}

# Sets the texts to compare on, what to calibrate on, and the folder of all that depends on them.
choose_texts() {
  if [[ -n $DYADIC_DATA && -f $stsb/sts-train.csv.zst ]]; then
    out=build/peers/stsb
    texts=(--stsb "$stsb")
    calibration=("$stsb/sts-train.csv.zst" --columns "6,7" --sample 512 --seed 0)
    mkdir -p "$out"
  else
    out=build/peers/examples
    texts=(--sentences "$out/calibration.txt" "$out/evaluation.txt")
    calibration=("$out/calibration.txt")
    mkdir -p "$out"
    python3 scripts/demo_report.py split examples/sentences.txt "${texts[@]:1}" >&2
  fi
}

scripts/setup.sh >&2
cmake --preset release >/dev/null
cmake --build --preset release --target dyadic bench_peers_ours >/dev/null
scripts/fetch_models.sh >&2
install_peers
choose_texts
[[ $out/model.dyad -nt build/release/dyadic ]] ||
  build/release/dyadic quantize "$float" --recipe default --calib "${calibration[@]}" --require-integer -o "$out/model.dyad" >&2
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
git diff --quiet HEAD -- src include apps bench 2>/dev/null || commit+=" with changes"
exec "$venv/bin/python" bench/peers/compare.py --model "$float" --dyad "$out/model.dyad" --ours build/release/bench/bench_peers_ours \
  --folder "$out" --commit "$commit" "${texts[@]}" "$@"
