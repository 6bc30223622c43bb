/* Workers' connections in the registry: the places that they take, of a user and in all, and which server
 * process reads which endpoint, so that one that blocks its own declarer can be found and ended. */
#include "endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint_private.h"

struct user_places {
    struct list link;
    unsigned count;
    char user[ENDPOINT_NAME_BYTES];
};

void endpoint_set_worker(struct endpoint *e, uint32_t pid, bool reads)
{
    endpoint_lock(e->registry);
    e->worker_pid = pid;
    e->worker_reads = reads;
    e->worker_looks = 0;
    endpoint_unlock(e->registry);
}

bool endpoint_has_workers(struct endpoint_registry *r, struct endpoint_declarer *d)
{
    bool has = false;
    endpoint_lock(r);
    for (ENDPOINT_EACH(&d->endpoints, link, next))
        has = has || LIST_ENTRY(link, struct endpoint, link)->worker_pid != 0;
    endpoint_unlock(r);
    return has;
}

size_t endpoint_find_stuck(struct endpoint_registry *r, struct endpoint_declarer *d, unsigned looks,
                           uint32_t *pids, size_t max)
{
    size_t n = 0;
    endpoint_lock(r);
    for (ENDPOINT_EACH(&d->endpoints, link, next)) {
        struct endpoint *e = LIST_ENTRY(link, struct endpoint, link);
        if (e->worker_pid != 0 && !e->worker_reads && ++e->worker_looks >= looks && n < max)
            pids[n++] = e->worker_pid;
    }
    endpoint_unlock(r);
    return n;
}

static bool is_among(uint32_t pid, const uint32_t *pids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (pid != 0 && pids[i] == pid)
            return true;
    return false;
}

size_t endpoint_expel(struct endpoint_registry *r, struct endpoint_declarer *d,
                      const uint32_t *pids, size_t count)
{
    size_t n = 0;
    endpoint_lock(r);
    for (ENDPOINT_EACH(&d->endpoints, link, next)) {
        struct endpoint *e = LIST_ENTRY(link, struct endpoint, link);
        if (!is_among(e->worker_pid, pids, count))
            continue;
        e->is_withdrawn = true;
        e->state = ENDPOINT_RELEASED;
        if (e->worker_reads)
            err_set(&e->failure, SQLSTATE_QUERY_CANCELED,
                    "the endpoint was released because it blocked a statement of its own session");
        else
            err_set(
                &e->failure, SQLSTATE_LOCK_NOT_AVAILABLE,
                "the endpoint was released because it waited for a lock behind its own session");
        if (e->receiver != NULL)
            endpoint_wake(e->receiver); /* posts mail and returns */
        n++;
    }
    endpoint_unlock(r);
    return n;
}

static struct user_places *find_user(struct endpoint_registry *r, const char *user)
{
    for (ENDPOINT_EACH(&r->users, link, next)) {
        struct user_places *u = LIST_ENTRY(link, struct user_places, link);
        if (strcmp(u->user, user) == 0)
            return u;
    }
    return NULL;
}

bool endpoint_take_place(struct endpoint_registry *r, const char *user, unsigned max_user,
                         unsigned max)
{
    endpoint_lock(r);
    struct user_places *u = find_user(r, user);
    if (u == NULL && (u = calloc(1, sizeof *u)) != NULL) {
        snprintf(u->user, sizeof u->user, "%s", user);
        list_append(&r->users, &u->link);
    }
    bool free_place =
        u != NULL && (max_user == 0 || u->count < max_user) && (max == 0 || r->place_count < max);
    if (free_place) {
        u->count++;
        r->place_count++;
    }
    endpoint_unlock(r);
    return free_place;
}

void endpoint_give_place(struct endpoint_registry *r, const char *user)
{
    endpoint_lock(r);
    struct user_places *u = find_user(r, user);
    r->place_count--;
    if (--u->count == 0) {
        list_remove(&u->link);
        free(u);
    }
    endpoint_unlock(r);
}
