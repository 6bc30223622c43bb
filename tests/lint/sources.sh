#!/bin/bash
# What STYLE asks of the sources and a compiler does not check: how headers are included, functions
# that are not used here, and that each foreign library enters by its door only.
set -uo pipefail
cd "$(dirname "$0")/../.."
failed=0

# forbid TEXT REGEX FILE…: no line may match
forbid() {
    local text=$1 regex=$2 hits
    shift 2
    hits=$(grep -nE "$regex" "$@" 2>/dev/null | grep -vE '^[^:]+:[0-9]+:\s*(\*|/\*|//)')
    if [ -n "$hits" ]; then
        printf '%s:\n%s\n' "$text" "$hits"
        failed=1
    fi
}

# door HEADER FILE…: only these files include it
door() {
    local header=$1 hits file
    shift
    hits=$(grep -lE "#include <$header" "${sources[@]}")
    for file in $hits; do
        case " $* " in
        *" $file "*) ;;
        *) echo "$file includes $header, whose door is: $*"; failed=1 ;;
        esac
    done
}

mapfile -t sources < <(find base protocol proxy handlers include -name '*.[ch]' | sort)
mapfile -t tests < <(find tests -name '*.[ch]' -not -path '*/node_modules/*' | sort)
unused='(sprintf|vsprintf|strcpy|strcat|strtok|atoi|atol|gmtime|localtime|strerror|alloca)'
forbid 'included by a path that climbs' '#include "\.\./' "${sources[@]}" "${tests[@]}"
forbid 'functions that are not used here' "(^|[^a-zA-Z0-9_])$unused\(" "${sources[@]}" "${tests[@]}"
forbid 'tabs' "$(printf '\t')" "${sources[@]}"
forbid 'goto other than out' 'goto [^o]|goto o[^u]' "${sources[@]}"

door 'event2/' proxy/loop.c proxy/listener.c proxy/conn_private.h proxy/http.c
door 'openssl/' protocol/crypto.c proxy/tls.c proxy/tls_policy.c proxy/tls_private.h
door 'libpq-fe.h' handlers/pgclient/connection.h handlers/pgclient/*.c
door 'confuse.h' proxy/config.c
door 'jansson.h' base/json.c
door 'avro.h' handlers/hudi/avro.c
door 'curl/' handlers/objstore/transport.c
door 'expat.h' handlers/objstore/xml.c
door 'pg_query.h' handlers/hudi/inner_sql.c
door 'duckdb.h' handlers/hudi/duck_session.h
exit $failed
