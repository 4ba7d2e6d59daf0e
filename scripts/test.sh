#!/usr/bin/env bash
# Everything that must hold before a change lands; ends with CTest's summary of the whole release build.
#
# usage: scripts/test.sh
#   DYADIC_DATA, DYADIC_MODELS  where optional data and models are; tests without theirs are skipped and say why
#   DYADIC_BASE                 clang-tidy reads what changed since this commit (default: origin/main, else 20 commits back)
#   DYADIC_TIDY_SECONDS         time for clang-tidy (default 300); files beyond it are named as unread
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

failed=()
# step NAME COMMAND...: runs it and goes on, so that one run shows all that is wrong.
step() {
  local name=$1 start=$SECONDS
  shift
  say "$name"
  if "$@"; then
    echo "--- $name: ok, $((SECONDS - start)) s"
  else
    failed+=("$name")
    echo "--- $name: FAILED, $((SECONDS - start)) s"
  fi
}

formatted() { git ls-files '*.cc' '*.h' | xargs -r clang-format --dry-run -Werror; }

quick_tests() { ctest --test-dir "$1" --label-regex quick --output-on-failure --parallel "$(nproc)" --timeout 600; }

sanitized() {
  cmake --preset asan >/dev/null && cmake --build --preset asan && UBSAN_OPTIONS=print_stacktrace=1 quick_tests build/asan
}

# One Session used by many threads; only the runtime library is built for it.
threads_sanitized() {
  cmake --preset tsan >/dev/null && cmake --build --preset tsan &&
    TSAN_OPTIONS=halt_on_error=1 build/tsan/tests/test_runtime_threads
}

# What another compiler could break without a wrong bit: floats in the runtime library, sums on the stack, other keys of
# bodies.
other_compiler() {
  local tests=(graph_bodies methods_ibert methods_nn_lut kernels_dot_registers kernels_dot_panels kernels_attention_registers kernels_linear)
  cmake --preset clang >/dev/null && cmake --build --preset clang --target "${tests[@]/#/test_}" &&
    ctest --test-dir build/clang --tests-regex "^($(IFS='|' && echo "${tests[*]}"))\$" --no-tests=error --output-on-failure \
      --parallel "$(nproc)"
}

changed_sources() {
  local base=${DYADIC_BASE:-origin/main}
  if ! base=$(git merge-base "$base" HEAD 2>/dev/null) || [[ $base == $(git rev-parse HEAD) ]]; then
    base=$(git rev-parse --quiet --verify HEAD~20 || git hash-object -t tree /dev/null)
  fi
  git diff --name-only --diff-filter=d "$base" -- 'src/*.cc' 'apps/*.cc' ':!*test.cc' ':!*bench.cc'
}

tidy() {
  local limit=${DYADIC_TIDY_SECONDS:-300} start=$SECONDS result=0 files=() chunk i jobs
  jobs=$(nproc)
  mapfile -t files < <(changed_sources)
  mkdir -p build/tidy  # gcc's precompiled headers are not clang's
  sed -E 's/-Winvalid-pch//; s/-include [^ ]*cmake_pch\.hxx//' build/release/compile_commands.json >build/tidy/compile_commands.json
  for ((i = 0; i < ${#files[@]}; i += jobs)); do
    if ((SECONDS - start > limit)); then
      echo "clang-tidy: out of time, not read: ${files[*]:i}"
      break
    fi
    chunk=("${files[@]:i:jobs}")
    printf '%s\0' "${chunk[@]}" | xargs -0 -P "$jobs" -n 1 clang-tidy --quiet -p build/tidy \
      --extra-arg=-Wno-unknown-warning-option 2>&1 | sed -E '/^[0-9]+ warnings? generated\.$/d' || result=1
  done
  echo "clang-tidy: ${#files[@]} changed files"
  return "$result"
}

say "set up"
scripts/setup.sh
scripts/fetch_models.sh || echo "Tests of the MiniLM model will be skipped: it is not at $DYADIC_MODELS"
[[ -n $DYADIC_DATA ]] || echo "Tests of the evaluation data will be skipped: DYADIC_DATA names no folder"

say "build"
cmake --preset release >/dev/null
cmake --build --preset release

step "layers" scripts/check_layers
step "formatting" formatted
step "quick tests" quick_tests build/release
step "quick tests under AddressSanitizer and UndefinedBehaviorSanitizer" sanitized
step "one Session, many threads, under ThreadSanitizer" threads_sanitized
step "kernels and bodies by clang" other_compiler
step "fuzzing for seconds" scripts/fuzz.sh --smoke
step "clang-tidy" tidy

say "all tests of the release build"
((${#failed[@]} == 0)) || printf 'failed before: %s\n' "${failed[@]}"
ctest --test-dir build/release --output-on-failure --parallel "$(nproc)" --timeout 1200 || failed+=("all tests")
((${#failed[@]} == 0))
