#!/bin/bash
# layers.sh COMPILER FILE   A wrong include does not compile.
#
# FILE has a line a layer: its target and the include folders that the build gives it. From each
# target the public headers of each layer are tried: those of a layer above must not compile.
set -uo pipefail
cd "$(dirname "$0")/../.."
compiler=$1 list=$2 failed=0 tried=0

# What each target may include (docs/architecture.md).
declare -A allowed=(
    [base]="base"
    [protocol]="base protocol"
    [proxy]="base protocol proxy"
    [pgclient]="base pgclient"
    [objstore]="base protocol objstore"
    [apply]="base protocol pgclient apply"
    [task_gate]="base protocol proxy task"
    [task_job]="base pgclient task"
    [hudi_gate]="base protocol proxy hudi"
    [parallel_cursor_gate]="base protocol proxy parallel_cursor"
    [parallel_cursor_job]="base parallel_cursor"
    [hudi_job]="base protocol pgclient objstore apply task hudi"
    [rebuild_gate]="base protocol proxy rebuild"
    [rebuild_job]="base pgclient task rebuild"
)

# Does any public header of the layer compile from there? None of the folders holds it: no compiler is needed.
can_include() {
    local layer=$1 header folder found=no
    shift
    for folder in "$@"; do
        [ ! -e "${folder#-I}/$layer" ] || found=yes
    done
    [ $found = yes ] || return 1
    for header in include/"$layer"/*.h; do
        echo "#include \"$layer/$(basename "$header")\"" |
            "$compiler" -fsyntax-only "$@" -x c - 2>/dev/null && return 0
    done
    return 1
}

while read -r target folders; do
    flags=(-D_GNU_SOURCE)
    for folder in $folders; do
        case $folder in */inc/*) flags+=("-I$folder") ;; esac
    done
    for path in include/*/; do
        layer=$(basename "$path")
        compgen -G "$path*.h" >/dev/null || continue
        tried=$((tried + 1))
        if can_include "$layer" "${flags[@]}"; then
            case " ${allowed[$target]} " in
            *" $layer "*) ;;
            *) echo "$target can include \"$layer/…\", and must not"; failed=1 ;;
            esac
        elif [ "$layer" = base ]; then
            echo "$target cannot include \"base/…\""
            failed=1
        fi
    done
done <"$list"
echo "$tried pairs of target and layer tried"
[ $tried -gt 0 ] || failed=1
exit $failed
