#!/bin/bash
# install_packages.sh GROUP…   build | run | test | bench | regress | format | npm | drivers
#
# Installs the Debian packages that a group needs. Asks dpkg first: nothing is fetched, and apt is
# not called, when all are there. Works as root and with sudo.
set -euo pipefail

build_packages="gcc libc6-dev make cmake ninja-build pkg-config ca-certificates libevent-dev libssl-dev
    libpq-dev libjansson-dev libconfuse-dev libavro-dev zlib1g-dev libcurl4-openssl-dev libexpat1-dev libcmocka-dev
    libpg-query-dev libprotobuf-c-dev"
run_packages="postgresql postgresql-client util-linux procps"
test_packages="$run_packages clang-14 libclang-rt-14-dev llvm-14 python3 python3-psycopg python3-psycopg2
    openjdk-17-jdk-headless libpostgresql-jdbc-java python3-swift git"
bench_packages="$run_packages python3 pgbouncer postgresql-15-repack"
regress_packages="$run_packages gcc libc6-dev python3 bzip2"
format_packages="clang-format-14 git"
npm_packages="nodejs npm"
# Tool chains of another origin serve as well, and may not stand beside Debian's.
command -v npm >/dev/null || test_packages+=" $npm_packages"
drivers_packages="$test_packages python3-pip python3-asyncpg python3-pyodbc unixodbc odbc-postgresql"
command -v go >/dev/null || drivers_packages+=" golang-go"
command -v cargo >/dev/null || drivers_packages+=" cargo"

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "install_packages.sh: these packages are missing: ${missing[*]}" >&2
        echo "Install them as root, or install sudo." >&2
        exit 1
    fi
}

is_there() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for group in "$@"; do
    list="${group}_packages"
    for package in ${!list}; do
        is_there "$package" || missing+=("$package")
    done
done
[ ${#missing[@]} -eq 0 ] && exit 0

export DEBIAN_FRONTEND=noninteractive
echo "installing ${missing[*]}"
as_root apt-get -qq update
as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
    -o Dpkg::Use-Pty=0 install "${missing[@]}" </dev/null >/dev/null
