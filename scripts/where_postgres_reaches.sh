#!/bin/bash
# where_postgres_reaches.sh COMMAND…   runs it here, or in a copy of the tree
#
# As root the tests' servers and jobs run as user postgres, which must reach what was built. A tree in
# root's own folder is built and tested in a copy (with ../shared, whose Hudi tables are read too).
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" -ne 0 ] || ! id postgres >/dev/null 2>&1 || runuser -u postgres -- test -r "$PWD/Makefile"; then
    exec "$@"
fi
umask 022
copy=$(mktemp -d /var/tmp/pgveneer-test-XXXXXX)
trap 'rm -rf "$copy"' EXIT
chmod 0755 "$copy"
echo "the user postgres cannot reach $PWD: testing a copy of it in $copy"
mkdir "$copy/repo"
tar -cf - --exclude='./build*' --exclude=./.pgveneer . | tar -xf - -C "$copy/repo"
[ ! -d ../shared ] || cp -rL ../shared "$copy/shared"
cd "$copy/repo"
make build
"$@"
