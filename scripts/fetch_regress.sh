#!/bin/bash
# fetch_regress.sh   puts PostgreSQL 15's own tests into .deps/regress15: regress/, isolation/, regress.so,
#                    bin/psql
#
# Debian's packages have the programs that run the tests, not the tests. These come from Debian's source
# package (apt-get source, with lists of its own: the system's are not touched). regress.so, the functions
# in C that they use, is compiled against the headers of postgresql-server-dev-15, and the psql is the one
# of the tests' version, since each prints what its tests expect; both are unpacked, not installed. Quick when it is there. Exit code 75: the sources cannot be reached.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$PWD/.deps/regress15
[ -e "$target/complete" ] && exit 0
mkdir -p .deps
exec 9>.deps/regress15.lock
flock 9
[ -e "$target/complete" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
# The system's own Debian archives, with their sources.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | grep debian | sort -u |
    sed "s|.*|deb [signed-by=$keyring] &\ndeb-src [signed-by=$keyring] &|" >"$work/sources.list"
options=(-q -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)

give_up() {
    echo "$1: PostgreSQL's own tests cannot be fetched" >&2
    sed 's/^/    /' "$work/log" >&2 || true
    exit 75
}
cd "$work"
apt-get "${options[@]}" update >log 2>&1 || give_up "apt-get update"
# The installed version, or the newest other one of 15 that the archive still has.
installed=$(dpkg-query -W -f '${Version}' postgresql-15)
versions=$(apt-cache "${options[@]}" showsrc postgresql-15 2>>log | sed -n 's/^Version: //p' | sort -rVu)
for version in $installed $versions; do
    apt-get "${options[@]}" source --download-only "postgresql-15=$version" >>log 2>&1 && break
done
archive=$(find . -maxdepth 1 -name 'postgresql-15_*.orig.tar.*' | head -1)
[ -n "$archive" ] || give_up "apt-get source"
apt-get "${options[@]}" download postgresql-server-dev-15 "postgresql-client-15=$version" >>log 2>&1 || give_up "apt-get download"

tar -xf "$archive" --strip-components=3 --wildcards '*/src/test/regress' '*/src/test/isolation'
for package in *.deb; do
    dpkg -x "$package" unpacked
done
gcc -O1 -fPIC -shared -I unpacked/usr/include/postgresql/15/server -o regress.so regress/regress.c
rm -rf "$target"
mkdir -p "$target/bin"
cp unpacked/usr/lib/postgresql/15/bin/psql "$target/bin"
cp -r regress isolation regress.so "$target"
cp /usr/lib/postgresql/15/lib/{refint,autoinc}.so "$target"
chmod -R go+rX "$target"
basename "$archive" >"$target/complete"
