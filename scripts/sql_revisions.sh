#!/bin/bash
# The SQL files against what was released of them (handlers/sql_revisions.txt; include/base/migration.h).
#   sql_revisions.sh check          a file that was released is unchanged, or has the next revision
#   sql_revisions.sh release NAME   adds the files as they are now: a release, after which they cannot change;
#                                   letters, digits and _
set -euo pipefail
cd "$(dirname "$0")/.."
released=handlers/sql_revisions.txt
shipped=tests/e2e/sql/shipped
failed=0

complain() {
    echo "$*"
    failed=1
}

# The files in the order in which they run, one a line: feature/name revision sha256
list_files() {
    local file key revision
    for file in handlers/{task,hudi,rebuild,parallel_cursor}/sql/*.sql; do
        key=${file#handlers/}
        key=${key/\/sql\//\/}
        revision=$(sed -n '1s/^-- revision \([0-9]*\)$/\1/p' "$file")
        echo "${key%.sql} ${revision:-1} $(sha256sum <"$file" | cut -d' ' -f1)"
    done
}

check_revisions() {
    local key revision sum last
    while read -r key revision sum; do
        last=$(awk -v key="$key" '$1 == key && $2 > last { last = $2 } END { print last + 0 }' $released)
        if [ "$revision" = "$last" ]; then
            grep -q "^$key $revision $sum$" $released ||
                complain "$key has changed since its revision $revision was released: its first line has to" \
                         "be \"-- revision $((revision + 1))\", and the file one that can run over the former"
        elif [ "$revision" != $((last + 1)) ]; then
            complain "$key says revision $revision; the next one is $((last + 1))"
        fi
    done <<<"$files"
}

# What a later file defines anew, an earlier one that runs again would take back.
check_definitions() {
    local key revision rest file
    declare -A revised
    while read -r key revision rest; do
        file=handlers/${key%/*}/sql/${key#*/}.sql
        while read -r function; do
            [ -z "${revised[$function]:-}" ] || [ "${revised[$function]}" = "$key" ] ||
                complain "$function is defined in ${revised[$function]}, which may run again, and in $key"
            [ "$revision" = 1 ] || revised[$function]=$key
        done < <(sed -nE 's/^CREATE (OR REPLACE )?(FUNCTION|PROCEDURE|VIEW) ([a-z_.]+).*/\3/p' "$file" | sort -u)
    done <<<"$files"
}

# test_upgrade.py installs each release: texts that are no more in the tree are kept.
check_texts() {
    local key revision sum
    while read -r key revision sum; do
        grep -q "^$key .* $sum$" <<<"$files" ||
            sha256sum --status -c <<<"$sum  $shipped/$key.${sum:0:8}.txt" 2>/dev/null ||
            complain "the released text of $key belongs into $shipped/$key.${sum:0:8}.txt"
    done < <(grep / $released | grep -v '^#')
}

files=$(list_files)
check_revisions
check_definitions
check_texts
[ $failed = 0 ] || exit 1
case ${1:-} in
check) ;;
release) { echo "release ${2:?name of the release}" && echo "$files"; } >>$released ;;
*) sed -n '2,5p' "$0" && exit 2 ;;
esac
