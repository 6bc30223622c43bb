#!/bin/bash
# fetch_s3rver.sh   puts s3rver, an S3 server for tests, into .deps/s3rver
#
# Of npm; the versions and sums of it and of what it needs stand in tests/support/s3rver. Quick when it
# is there.
set -euo pipefail
cd "$(dirname "$0")/.."

source=tests/support/s3rver target=.deps/s3rver
cmp -s $source/package-lock.json $target/complete && exit 0

if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
    scripts/install_packages.sh npm
fi
echo "fetching s3rver"
rm -rf $target
mkdir -p $target
cp $source/package.json $source/package-lock.json $target
(cd $target && npm ci --silent --no-audit --no-fund --ignore-scripts >/dev/null)
cp $source/package-lock.json $target/complete
