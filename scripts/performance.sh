#!/usr/bin/env bash
# Measures everything that docs/performance.md shows (on a processor with AMX: docs/performance-amx.md) and writes its tables, then prints
# products and row operations beside oneDNN's: half an hour on a quiet machine, and what building and installing the other engines
# take. Where it stopped, it goes on.
#
# usage: scripts/performance.sh [--quick]     --quick: few rounds beside the other engines
#   DYADIC_DATA, DYADIC_MODELS  as in bench/peers/run.sh
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

# Written at the end, so that the tables name a commit and not a changed work tree.
if grep -qm1 amx_int8 /proc/cpuinfo; then
  shown=docs/performance-amx.md levels=(amx avx512vnni)
elif grep -qm1 avx512_vnni /proc/cpuinfo; then
  shown=docs/performance.md levels=(avx512vnni avx2)
else
  shown=docs/performance.md levels=(avx2)
fi
page=build/$(basename $shown)
mkdir -p build
[[ $page -nt $shown ]] || cp $shown $page
processors=$(nproc)
alone=(taskset -c $((processors - 1)))

say "beside other engines: one thread, one thread held to the level below, two threads"
"${alone[@]}" bench/peers/run.sh "$@" --write $page
[[ ${#levels[@]} -eq 1 ]] || "${alone[@]}" bench/peers/run.sh "$@" --isa "${levels[1]}" --no-accuracy --write $page
if [[ $processors -ge 2 ]]; then
  bench/peers/run.sh "$@" --threads 2 --shapes 1x16,1x128,8x128,32x128,text --no-accuracy --write $page
else
  echo "two threads: SKIPPED, there is one processor" >&2
fi

say "limits, shapes, profile, executors"
model=$(find build/peers -name model.dyad -newer build/release/dyadic | head -n 1)
[[ -n $model ]] || die "no model of this build in build/peers"
"${alone[@]}" bench/tables.py build/release/dyadic "$model" $page

say "products and row operations beside oneDNN"
cmake --build --preset release --target bench_kernels_dot bench_rows >/dev/null
for isa in "${levels[@]}"; do
  DYADIC_ISA=$isa "${alone[@]}" build/release/bench/bench_kernels_dot
  DYADIC_ISA=$isa "${alone[@]}" build/release/bench/bench_rows
done
mv $page $shown
