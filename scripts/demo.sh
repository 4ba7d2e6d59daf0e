#!/usr/bin/env bash
# The main job on a fresh machine: installs, builds, fetches a sentence encoder, makes it integer-only, checks it, measures
# what it costs in accuracy and what it gains in size and time, and prints one table.
#
# usage: scripts/demo.sh
#   DYADIC_DATA    a folder with text/stsb/: the table then has STS-B figures as well
#   DYADIC_MODELS  where models are kept (default build/models)
# What it makes lies in build/demo/.
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

out=build/demo
dyadic=build/release/dyadic
float=${DYADIC_MODELS#"$PWD"/}/all-MiniLM-L6-v2
recipe=recipes/default.toml

# show COMMAND...: prints the command, then runs it. save FILE COMMAND...: the same, with its stdout into $out/FILE.
show() {
  printf '$ %s\n' "$*" >&2
  "$@"
}
save() {
  local file=$out/$1
  shift
  printf '$ %s > %s\n' "$*" "$file" >&2
  "$@" >"$file"
}

say "install and build"
scripts/setup.sh --venv
cmake --preset release >/dev/null
cmake --build --preset release --target dyadic
scripts/fetch_models.sh
rm -rf "$out" && mkdir -p "$out"

say "quantize: integers only, calibrated on one half of examples/sentences.txt"
show python3 scripts/demo_report.py split examples/sentences.txt "$out/calibration.txt" "$out/evaluation.txt"
show "$dyadic" quantize "$float" --recipe "$recipe" --calib "$out/calibration.txt" --require-integer -o "$out/model.dyad"

say "inspect and verify"
save inspect.json "$dyadic" inspect "$out/model.dyad" --json
save verify.json "$dyadic" verify "$out/model.dyad" --json

say "accuracy on the other half"
save cosine.json "$dyadic" eval "$out/model.dyad" --task cosine --data "$out/evaluation.txt" --reference "$float" --json

stsb=$DYADIC_DATA/text/stsb
if [[ -n $DYADIC_DATA && -f $stsb/sts-dev.csv.zst && -f $stsb/sts-train.csv.zst ]]; then
  say "accuracy on STS-B dev, calibrated on 512 sentences of its training part"
  show "$dyadic" quantize "$float" --recipe "$recipe" --calib "$stsb/sts-train.csv.zst" --columns 6,7 --sample 512 --seed 0 \
    --require-integer -o "$out/stsb.dyad"
  save sts_float.json "$dyadic" eval "$float" --task sts --data "$stsb/sts-dev.csv.zst" --json
  save sts_integer.json "$dyadic" eval "$out/stsb.dyad" --task sts --data "$stsb/sts-dev.csv.zst" --reference "$float" --json
else
  say "STS-B skipped: DYADIC_DATA names no folder with text/stsb"
fi

say "time, one thread"
save bench.json "$dyadic" bench "$out/model.dyad" --batch 1,32 --length 16,128,384 --threads 1 --baseline "$float" --json
save float.jsonl "$dyadic" run "$float" "$out/evaluation.txt"
save ort.json build/venv/bin/python scripts/ort_baseline.py "$float" --batch 1,32 --length 16,128,384 --threads 1 \
  --texts "$out/evaluation.txt" --embeddings "$out/float.jsonl" ||
  { rm -f "$out/ort.json" && echo "ONNX Runtime is left out of the table" >&2; }

say "result"
python3 scripts/demo_report.py table "$out" "$float"
