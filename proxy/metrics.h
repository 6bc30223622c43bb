/* Counters of the proxy: one set a loop, written by its thread alone, read by any.
 *
 * Adding is a plain load, add and store: no lock, no bus-locked instruction, no cache line that two
 * threads write. */
#ifndef METRICS_H
#define METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Rows of one name stand together. */
#define METRICS(X)                                                                                 \
    X(CLIENTS, "pgveneer_clients_accepted_total", "", "Clients that connected.")                   \
    X(LOGINS, "pgveneer_logins_total", "", "Logins that succeeded.")                               \
    X(REFUSED, "pgveneer_sessions_refused_total", "",                                              \
      "Sessions and logins that pgveneer itself ended with an error.")                             \
    X(PROTOCOL_ERRORS, "pgveneer_protocol_errors_total", "",                                       \
      "Connections on which something came that is not the protocol.")                             \
    X(CANCELS, "pgveneer_cancel_requests_total", "", "Cancel requests that were passed on.")       \
    X(TLS_DONE, "pgveneer_tls_handshakes_total", "result=\"done\"", "TLS handshakes of clients.")  \
    X(TLS_FAILED, "pgveneer_tls_handshakes_total", "result=\"failed\"", "")                        \
    X(FROM_CLIENTS, "pgveneer_bytes_total", "leg=\"client\",direction=\"received\"",               \
      "Bytes of the protocol, without TLS around them.")                                           \
    X(TO_CLIENTS, "pgveneer_bytes_total", "leg=\"client\",direction=\"sent\"", "")                 \
    X(FROM_SERVER, "pgveneer_bytes_total", "leg=\"server\",direction=\"received\"", "")            \
    X(TO_SERVER, "pgveneer_bytes_total", "leg=\"server\",direction=\"sent\"", "")                  \
    X(VENDOR_REWRITE, "pgveneer_vendor_statements_total", "kind=\"rewrite\"",                      \
      "Statements that pgveneer carried out: in place, as a call of its own, or not at all.")      \
    X(VENDOR_CALL, "pgveneer_vendor_statements_total", "kind=\"call\"", "")                        \
    X(VENDOR_REFUSED, "pgveneer_vendor_statements_total", "kind=\"refused\"", "")                  \
    X(UNINSPECTED, "pgveneer_uninspected_statements_total", "",                                    \
      "Statements over inspect_max, which passed without a look.")

enum metric {
#define X(id, name, labels, help) METRIC_##id,
    METRICS(X)
#undef X
        METRIC_COUNT
};

struct metrics {
    _Alignas(64) atomic_uint_least64_t values[METRIC_COUNT];
    char apart[64];
};

static inline void metrics_add(struct metrics *m, enum metric which, uint64_t n)
{
    uint64_t now = atomic_load_explicit(&m->values[which], memory_order_relaxed);
    atomic_store_explicit(&m->values[which], now + n, memory_order_relaxed);
}

static inline uint64_t metrics_get(const struct metrics *m, enum metric which)
{
    return atomic_load_explicit(&m->values[which], memory_order_relaxed);
}

/* Appends "# HELP" and "# TYPE" (Prometheus text format 0.0.4). */
void metrics_put_head(struct buf *out, const char *name, const char *type, const char *help);
/* Appends a value of a label, escaped. */
void metrics_put_label(struct buf *out, const char *value);
/* Appends all counters, each the sum of the sets. */
void metrics_put(struct buf *out, const struct metrics *const *sets, size_t count);

#endif
