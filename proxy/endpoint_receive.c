/* Retrieve sessions in the registry: whose token opens which declarer's endpoints, and the states that
 * an endpoint goes through while it is read. */
#include "endpoint.h"

#include <string.h>

#include "endpoint_private.h"

void endpoint_receiver_open(struct endpoint_registry *r, struct endpoint_party *p)
{
    p->is_receiver = true;
    endpoint_lock(r);
    list_append(&r->parties, &p->link);
    endpoint_unlock(r);
}

static void set_quit_failure(struct err *err)
{
    err_set(err, SQLSTATE_QUERY_CANCELED,
            "canceling MPP operation: \"Endpoint retrieve session is quitting. All unfinished "
            "parallel retrieve cursors on the session will be terminated.\"");
}

/* Under the lock: returns the declarer to be woken, or NULL. */
static struct endpoint_declarer *release_all_of(struct endpoint_declarer *d,
                                                const struct endpoint_party *p)
{
    struct endpoint_declarer *changed = NULL;
    for (ENDPOINT_EACH(&d->endpoints, link, next)) {
        struct endpoint *e = LIST_ENTRY(link, struct endpoint, link);
        if (e->receiver != p || e->state == ENDPOINT_FINISHED || e->state == ENDPOINT_RELEASED)
            continue;
        e->state = ENDPOINT_RELEASED;
        set_quit_failure(&e->failure);
        changed = d;
    }
    return changed;
}

void endpoint_receiver_close(struct endpoint_registry *r, struct endpoint_party *p)
{
    p->who = NULL;
    endpoint_lock(r);
    list_remove(&p->link);
    for (ENDPOINT_EACH(&r->declarers, link, next)) {
        struct endpoint_declarer *d = LIST_ENTRY(link, struct endpoint_declarer, link);
        if (release_all_of(d, p) != NULL)
            endpoint_wake(&d->party); /* posts mail and returns */
    }
    endpoint_unlock(r);
    endpoint_party_unref(p);
}

size_t endpoint_find_declarers(struct endpoint_registry *r, struct slice user, struct slice dbname,
                               struct endpoint_declarer **out, size_t max)
{
    size_t n = 0;
    endpoint_lock(r);
    for (ENDPOINT_EACH(&r->declarers, link, next)) {
        struct endpoint_declarer *d = LIST_ENTRY(link, struct endpoint_declarer, link);
        if (n < max && slice_equals_cstr(user, d->user) && slice_equals_cstr(dbname, d->dbname)) {
            endpoint_party_ref(&d->party);
            out[n++] = d;
        }
    }
    endpoint_unlock(r);
    return n;
}

void endpoint_copy_nobody(struct endpoint_registry *r, struct scram_verifier *out)
{
    *out = r->nobody; /* constant */
}

bool endpoint_copy_parameters(struct endpoint_registry *r, struct endpoint_declarer *d,
                              struct buf *out)
{
    endpoint_lock(r);
    buf_append_slice(out, buf_slice(&d->parameters));
    endpoint_unlock(r);
    return !out->failed;
}

bool endpoint_refuse_gone(struct err *err)
{
    return err_set(err, SQLSTATE_INTERNAL_ERROR,
                   "endpoint is not available because the parallel retrieve cursor was aborted");
}

static bool refuse_other(const struct endpoint *e, struct err *err)
{
    if (e->state == ENDPOINT_FINISHED)
        return err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE,
                       "another session (pid: %u) used the endpoint and completed retrieving",
                       e->receiver->pid);
    if (e->state == ENDPOINT_RELEASED)
        return err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE,
                       "failed to attach non-existing endpoint %s", e->name);
    err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE,
            "endpoint %s was already attached by receiver(pid: %u)", e->name, e->receiver->pid);
    return err_detail(err, "An endpoint can only be attached by one retrieving session.");
}

/* Under the lock. */
static bool attach(struct endpoint *e, struct endpoint_party *receiver, bool *finished,
                   struct err *err)
{
    if (e->receiver != NULL && e->receiver != receiver)
        return refuse_other(e, err);
    if (e->state == ENDPOINT_RELEASED)
        return endpoint_refuse_gone(err);
    if (e->receiver == NULL)
        e->receiver = endpoint_party_ref(receiver);
    *finished = e->state == ENDPOINT_FINISHED;
    if (!*finished)
        e->state = ENDPOINT_RETRIEVING;
    return true;
}

bool endpoint_attach(struct endpoint_registry *r, struct endpoint_declarer *d,
                     struct endpoint_party *receiver, const char *name, struct endpoint **out,
                     bool *finished, struct err *err)
{
    endpoint_lock(r);
    struct endpoint *e = endpoint_find(d, name);
    bool good = e != NULL ? attach(e, receiver, finished, err)
                          : err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE,
                                    "failed to attach non-existing endpoint %s", name);
    if (good) {
        atomic_fetch_add(&e->refs, 1);
        *out = e;
    }
    endpoint_unlock(r);
    return good;
}

/* From one state of those that a receiver holds to another. */
static void leave(struct endpoint *e, enum endpoint_state next, const struct err *failure)
{
    endpoint_lock(e->registry);
    bool moves = e->state == ENDPOINT_RETRIEVING || e->state == ENDPOINT_ATTACHED;
    if (moves)
        e->state = next;
    if (moves && failure != NULL)
        e->failure = *failure;
    endpoint_unlock(e->registry);
    if (moves)
        endpoint_wake(&e->declarer->party);
}

void endpoint_detach(struct endpoint *e, bool finished)
{
    leave(e, finished ? ENDPOINT_FINISHED : ENDPOINT_ATTACHED, NULL);
}

void endpoint_release(struct endpoint *e, const struct err *err)
{
    leave(e, ENDPOINT_RELEASED, err);
}

bool endpoint_is_withdrawn(struct endpoint *e)
{
    endpoint_lock(e->registry);
    bool is = e->is_withdrawn;
    endpoint_unlock(e->registry);
    return is;
}
