#!/usr/bin/env bash
# Measures everything that docs/performance.md shows and writes its tables, then prints products and row operations beside oneDNN's: half an
# hour on a quiet machine, and what building and installing the other engines take. Where it stopped, it goes on.
#
# usage: scripts/performance.sh [--quick]     --quick: few rounds beside the other engines
#   DYADIC_DATA, DYADIC_MODELS  as in bench/peers/run.sh
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

# Written at the end, so that the tables name a commit and not a changed work tree.
page=build/performance.md
mkdir -p build
[[ $page -nt docs/performance.md ]] || cp docs/performance.md $page
processors=$(nproc)
alone=(taskset -c $((processors - 1)))

say "beside other engines: one thread, one thread held to AVX2, two threads"
"${alone[@]}" bench/peers/run.sh "$@" --write $page
"${alone[@]}" bench/peers/run.sh "$@" --isa avx2 --no-accuracy --write $page
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
for isa in $(grep -qm1 avx512_vnni /proc/cpuinfo && echo avx512vnni) avx2; do
  DYADIC_ISA=$isa OMP_NUM_THREADS=1 "${alone[@]}" build/release/bench/bench_kernels_dot
  DYADIC_ISA=$isa OMP_NUM_THREADS=1 "${alone[@]}" build/release/bench/bench_rows
done
mv $page docs/performance.md
