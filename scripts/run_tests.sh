#!/bin/bash
# run_tests.sh BUILD JOBS   every test, in one ctest with one closing summary
#
# The release build's tests; the unit tests, a number of runs of each fuzz target and the short
# end-to-end tests again under ASan and UBSan; the unit tests of the threaded proxy under TSan. The
# sanitizer builds' tests join the release build's through an include file of ctest's.
# TESTS='regex' in the environment runs only these; SANITIZERS=no leaves the sanitizer builds out.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 jobs=$2

scripts/fetch_postgresql18.sh
scripts/fetch_s3rver.sh
extra="$build/sanitizer_tests.cmake"
: >"$extra"
if [ "${SANITIZERS:-yes}" = yes ]; then
    scripts/build.sh asan build-asan "$jobs" | tail -1
    scripts/build.sh tsan build-tsan "$jobs" | tail -1
    echo "subdirs(\"$PWD/build-asan\" \"$PWD/build-tsan\")" >"$extra"
fi
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:suppressions=$PWD/tests/support/tsan.supp
# clang 14's sanitizers cannot live with 32 bits of address randomness.
wrap=()
if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -gt 28 ] &&
    setarch -R true 2>/dev/null; then
    wrap=(setarch -R)
fi
# Twice as many as cores: the end-to-end tests wait as long as they work.
exec "${wrap[@]}" ctest --test-dir "$build" --output-on-failure -j "$((2 * jobs))" --no-tests=error \
    ${TESTS:+-R "$TESTS"} </dev/null
