/* What the lists of endpoints show: JSON that the functions of the support schema read. */
#include "endpoint.h"

#include <string.h>

#include "base/json.h"

#include "endpoint_private.h"

static const char *const seed_names[] = {
#define X(name, seed, newer) seed,
    ENDPOINT_STATES(X)
#undef X
};
static const char *const newer_names[] = {
#define X(name, seed, newer) newer,
    ENDPOINT_STATES(X)
#undef X
};

static void put_text(struct buf *out, const char *key, const char *value)
{
    buf_printf(out, ",\"%s\":", key);
    json_write_string(out, slice_cstr(value));
}

static void put_row(struct buf *out, const struct endpoint *e, bool own)
{
    const struct endpoint_declarer *d = e->declarer;
    buf_printf(out, "%s{\"own\":%s", buf_length(out) > 1 ? "," : "", own ? "true" : "false");
    buf_printf(out, ",\"port\":%u,\"sessionid\":%u,\"segment\":%u", d->port, d->number, e->number);
    put_text(out, "auth_token", d->token);
    put_text(out, "cursor_name", e->cursor->name);
    put_text(out, "hostname", d->host);
    put_text(out, "username", d->user);
    put_text(out, "status", seed_names[e->state]);
    put_text(out, "state", newer_names[e->state]);
    if (e->state == ENDPOINT_RELEASED && own)
        put_text(out, "failure", e->failure.message);
    put_text(out, "endpoint_name", e->name);
    buf_append_byte(out, '}');
}

bool endpoint_list(struct endpoint_registry *r, const char *dbname, const char *user,
                   bool is_superuser, const struct endpoint_declarer *own, struct buf *out)
{
    buf_append_byte(out, '[');
    endpoint_lock(r);
    for (ENDPOINT_EACH(&r->declarers, link, next)) {
        const struct endpoint_declarer *d = LIST_ENTRY(link, struct endpoint_declarer, link);
        if (strcmp(d->dbname, dbname) != 0 || (!is_superuser && strcmp(d->user, user) != 0))
            continue;
        for (ENDPOINT_EACH(&d->endpoints, item, after)) {
            const struct endpoint *e = LIST_ENTRY(item, struct endpoint, link);
            if (e->state != ENDPOINT_RELEASED || d == own)
                put_row(out, e, d == own);
        }
    }
    endpoint_unlock(r);
    buf_append_byte(out, ']');
    return !out->failed;
}
