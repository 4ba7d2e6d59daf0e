#!/usr/bin/env bash
# Fuzzes the loaders with libFuzzer under AddressSanitizer and UndefinedBehaviorSanitizer. What is found is written to
# build/fuzz/crashes; a minimised finding belongs in fuzz/corpus/TARGET, which tests/fuzz_corpus replays in every build.
#
# usage: scripts/fuzz.sh MINUTES [TARGET..]     until each target has had so many minutes of processor time in build/fuzz,
#                                               those of earlier calls included, so that a call that was stopped is made
#                                               again; at low priority, as many targets at once as there are processors
#        scripts/fuzz.sh --smoke                every target for two seconds (part of scripts/test.sh)
#   targets: container graph body config tokenizer recipe
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

[[ $# -ge 1 ]] || die "usage: scripts/fuzz.sh MINUTES [TARGET..]"
smoke=0
if [[ $1 == --smoke ]]; then smoke=1 seconds=2; else seconds=$(awk -v m="$1" 'BEGIN { printf "%d", m * 60 }'); fi
shift
((seconds > 0)) || die "MINUTES must be a positive number"
targets=("$@")
((${#targets[@]})) || targets=(container graph body config tokenizer recipe)

program='extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'
if ! clang++ -fsanitize=fuzzer -x c++ - -o /dev/null <<<"$program" 2>/dev/null; then
  echo "SKIPPED: no clang++ with libFuzzer"
  exit 0
fi
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz >build/fuzz/build.log || { tail -n 30 build/fuzz/build.log && die "the fuzzers do not build"; }
mkdir -p build/fuzz/crashes

# Adds to build/fuzz/TARGET.total, a line of seconds, executions and findings, until it has the seconds wanted. libFuzzer
# counts wall time: what a run got of the processor is read from the shell, and another run makes up for the rest.
fuzz() {
  local target=$1 wanted=$2 total=build/fuzz/$1.total log=build/fuzz/$1.log used=build/fuzz/$1.seconds dictionary=json
  local kept=build/fuzz/corpus/$target seeds=(fuzz/corpus/"$target") seconds=0 executions=0 found=0 new=0
  local TIMEFORMAT='%U %S'
  case $target in
    body) dictionary=body ;;
    recipe) dictionary=recipe seeds+=(recipes) ;;
    container) seeds+=(models/golden) ;;
  esac
  mkdir -p "$kept"
  if [[ -f $total && $smoke == 0 ]]; then read -r seconds executions found <"$total"; fi
  while ((seconds < wanted && new < 10)); do
    local left=$((wanted - seconds))
    if ! { time nice -n 19 "build/fuzz/fuzz/fuzz_$target" -max_total_time=$((left < 300 ? left : 300)) -timeout=120 \
      -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 -dict="fuzz/$dictionary.dict" \
      -artifact_prefix="build/fuzz/crashes/$target-" "$kept" "${seeds[@]}" >"$log" 2>&1; } 2>"$used"; then
      found=$((found + 1)) new=$((new + 1))
      grep -E '^FOUND|^SUMMARY|runtime error|ERROR: ' "$log" | head -n 3 || true
      cp "$log" "build/fuzz/crashes/$target-$found.log"
    fi
    executions=$((executions + $(awk '/number_of_executed_units/ { print $2 }' "$log" | tail -n 1)))
    seconds=$((seconds + $(awk '{ printf "%d", $1 + $2 + 1 }' "$used")))
    if ((smoke == 0)); then echo "$seconds $executions $found" >"$total"; fi
  done
  echo "$target: $executions executions in $seconds s of processor time, $found findings"
  return $((new > 0))
}

failed=0
for target in "${targets[@]}"; do
  while (($(jobs -rp | wc -l) >= $(nproc))); do wait -n || failed=1; done
  fuzz "$target" "$seconds" &
done
while (($(jobs -p | wc -l) > 0)); do wait -n || failed=1; jobs >/dev/null; done
exit "$failed"
