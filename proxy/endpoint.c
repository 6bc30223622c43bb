/* The registry of endpoints: lists under one mutex, held for the length of a look. This file has its
 * life, the parties, and what the declaring side does: declarers, cursors, CHECK.
 *
 * Order of things that others can see: the token is in the registry before any endpoint is, so that
 * nobody finds an endpoint to which he cannot log in. All endpoints of a cursor come and go together.
 *
 * Nobody is called under the lock; a party is woken by posting its own mail, which cannot fail. */
#include "endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/crypto.h"

#include "endpoint_private.h"
#include "loop.h"

#define SCRAM_ITERATIONS 4096 /* fewer would do for a token of 128 bits; some drivers insist */
#define MAX_ENDPOINTS 16384u

bool endpoint_registry_new(struct endpoint_registry **out, struct err *err)
{
    struct endpoint_registry *r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_no_memory(err);
    list_init(&r->declarers);
    list_init(&r->parties);
    list_init(&r->users);
    uint8_t random[32];
    if (!crypto_random(r->salt, sizeof r->salt) || !crypto_random(random, sizeof random) ||
        !scram_verifier_make(slice_of((char *)random, sizeof random),
                             slice_of((char *)r->salt, sizeof r->salt), SCRAM_ITERATIONS,
                             &r->nobody, err)) {
        free(r);
        return err_set(err, SQLSTATE_INTERNAL_ERROR, "no random bytes");
    }
    pthread_mutex_init(&r->lock, NULL);
    *out = r;
    return true;
}

void endpoint_registry_free(struct endpoint_registry *r)
{
    if (r == NULL)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* ---- parties ---- */

struct endpoint_party *endpoint_party_ref(struct endpoint_party *p)
{
    atomic_fetch_add(&p->refs, 1);
    return p;
}

void endpoint_party_unref(struct endpoint_party *p)
{
    if (p != NULL && atomic_fetch_sub(&p->refs, 1) == 1)
        p->free_it(p);
}

static void on_wake(struct mail *m)
{
    struct endpoint_party *p = MAIL_ENTRY(m, struct endpoint_party, mail);
    atomic_store(&p->is_woken, false);
    if (p->who != NULL)
        p->wake(p->who);
    endpoint_party_unref(p);
}

void endpoint_wake(struct endpoint_party *p)
{
    if (atomic_exchange(&p->is_woken, true))
        return;
    endpoint_party_ref(p);
    p->mail.on_receive = on_wake;
    loop_post(p->loop, &p->mail);
}

/* ---- cursors and endpoints ---- */

struct endpoint_cursor *endpoint_cursor_new(const char *name)
{
    struct endpoint_cursor *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    atomic_init(&c->refs, 1);
    snprintf(c->name, sizeof c->name, "%s", name);
    buf_init(&c->description, (size_t)1024 * 1024);
    return c;
}

void endpoint_workers_free(struct endpoint_workers *w)
{
    if (w == NULL)
        return;
    credential_wipe(&w->credential);
    for (unsigned i = 0; w->slices != NULL && i < w->count; i++)
        free(w->slices[i]);
    free(w->slices);
    buf_fini(&w->relations);
    free(w->setup);
    free(w->user);
    free(w->dbname);
    free(w);
}

void endpoint_cursor_unref(struct endpoint_cursor *c)
{
    if (c == NULL || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    buf_fini(&c->description);
    endpoint_workers_free(c->workers);
    free(c);
}

void endpoint_unref(struct endpoint *e)
{
    if (e == NULL || atomic_fetch_sub(&e->refs, 1) != 1)
        return;
    endpoint_party_unref(e->receiver);
    endpoint_cursor_unref(e->cursor);
    endpoint_party_unref(&e->declarer->party);
    free(e);
}

struct endpoint *endpoint_find(const struct endpoint_declarer *d, const char *name)
{
    for (ENDPOINT_EACH(&d->endpoints, link, next)) {
        struct endpoint *e = LIST_ENTRY(link, struct endpoint, link);
        if (strcmp(e->name, name) == 0)
            return e;
    }
    return NULL;
}

/* ---- declaring sessions ---- */

static void free_declarer(struct endpoint_party *p)
{
    struct endpoint_declarer *d = (struct endpoint_declarer *)p;
    crypto_wipe(d->token, sizeof d->token);
    buf_fini(&d->parameters);
    free(d);
}

static bool make_token(struct endpoint_registry *r, struct endpoint_declarer *d, struct err *err)
{
    uint8_t random[16];
    if (!crypto_random(random, sizeof random))
        return err_set(err, SQLSTATE_INTERNAL_ERROR, "no random bytes for a token");
    memcpy(d->token, "tk", 2);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(d->token + 2 + 2 * i, 3, "%02x", random[i]);
    return scram_verifier_make(slice_cstr(d->token), slice_of((char *)r->salt, sizeof r->salt),
                               SCRAM_ITERATIONS, &d->verifier, err);
}

static void copy_text(char *out, size_t size, struct slice text)
{
    snprintf(out, size, "%.*s", (int)text.len, text.data);
}

bool endpoint_declarer_open(struct endpoint_registry *r, const struct endpoint_declarer_info *info,
                            struct endpoint_declarer **out, struct err *err)
{
    struct endpoint_declarer *d = calloc(1, sizeof *d);
    if (d == NULL)
        return err_no_memory(err);
    atomic_init(&d->party.refs, 1);
    d->party.free_it = free_declarer;
    d->party.loop = info->loop;
    d->party.who = info->who;
    d->party.wake = info->wake;
    d->party.pid = info->pid;
    d->party.key_bytes = info->key.len <= ENDPOINT_KEY_BYTES ? info->key.len : 0;
    if (d->party.key_bytes > 0)
        memcpy(d->party.key, info->key.data, d->party.key_bytes);
    d->number = info->number;
    d->port = info->port;
    copy_text(d->user, sizeof d->user, info->user);
    copy_text(d->dbname, sizeof d->dbname, info->dbname);
    copy_text(d->host, sizeof d->host, info->host);
    buf_init(&d->parameters, 65536);
    list_init(&d->endpoints);
    if (!make_token(r, d, err)) {
        endpoint_party_unref(&d->party);
        return false;
    }
    endpoint_lock(r);
    list_append(&r->declarers, &d->link);
    list_append(&r->parties, &d->party.link);
    endpoint_unlock(r);
    *out = d;
    return true;
}

/* Under the lock. The caller drops the references of what it collected behind it. */
static void withdraw(struct endpoint *e, struct list *gone)
{
    e->is_withdrawn = true;
    e->registry->endpoint_count--;
    list_remove(&e->link);
    list_append(gone, &e->link);
}

/* Behind the lock. */
static void wake_and_drop(struct list *gone)
{
    while (!list_is_empty(gone)) {
        struct endpoint *e = LIST_ENTRY(list_first(gone), struct endpoint, link);
        list_remove(&e->link);
        if (e->receiver != NULL)
            endpoint_wake(e->receiver);
        endpoint_unref(e);
    }
}

void endpoint_declarer_close(struct endpoint_registry *r, struct endpoint_declarer *d)
{
    struct list gone;
    list_init(&gone);
    d->party.who = NULL;
    endpoint_lock(r);
    list_remove(&d->link);
    list_remove(&d->party.link);
    for (ENDPOINT_EACH(&d->endpoints, link, next))
        withdraw(LIST_ENTRY(link, struct endpoint, link), &gone);
    endpoint_unlock(r);
    wake_and_drop(&gone);
    endpoint_party_unref(&d->party);
}

void endpoint_set_parameters(struct endpoint_registry *r, struct endpoint_declarer *d,
                             struct buf *parameters)
{
    endpoint_lock(r);
    struct buf old = d->parameters;
    d->parameters = *parameters;
    endpoint_unlock(r);
    buf_fini(&old);
    buf_init(parameters, 1);
}

/* The longest beginning of the name, whole UTF-8 characters, that leaves room for the ending. */
static size_t cut_name(const char *name, size_t max)
{
    size_t n = strlen(name);
    if (n <= max)
        return n;
    n = max;
    while (n > 0 && ((unsigned char)name[n] & 0xc0) == 0x80)
        n--;
    return n;
}

/* <cursor>_<k>; where two long names are cut alike, the cursor's number keeps them apart. */
static void name_endpoint(const struct endpoint_declarer *d, struct endpoint *e)
{
    char ending[32];
    snprintf(ending, sizeof ending, "_%u", e->number + 1);
    for (int attempt = 0; attempt < 2; attempt++) {
        size_t kept = cut_name(e->cursor->name, sizeof e->name - 1 - strlen(ending));
        snprintf(e->name, sizeof e->name, "%.*s%s", (int)kept, e->cursor->name, ending);
        if (endpoint_find(d, e->name) == NULL)
            return;
        snprintf(ending, sizeof ending, "_%u_%u", e->cursor->number, e->number + 1);
    }
}

static struct endpoint *new_endpoint(struct endpoint_registry *r, struct endpoint_declarer *d,
                                     struct endpoint_cursor *c, unsigned number)
{
    struct endpoint *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    atomic_init(&e->refs, 1);
    e->registry = r;
    e->declarer = d;
    endpoint_party_ref(&d->party);
    e->cursor = c;
    atomic_fetch_add(&c->refs, 1);
    e->number = number;
    list_init(&e->link);
    return e;
}

bool endpoint_publish(struct endpoint_registry *r, struct endpoint_declarer *d,
                      struct endpoint_cursor *c, unsigned count, struct err *err)
{
    struct list made;
    list_init(&made);
    unsigned n = 0;
    for (; n < count; n++) {
        struct endpoint *e = new_endpoint(r, d, c, n);
        if (e == NULL)
            break;
        list_append(&made, &e->link);
    }
    bool good = n == count || err_no_memory(err);
    endpoint_lock(r);
    if (good && r->endpoint_count + count > MAX_ENDPOINTS)
        good = err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "failed to allocate endpoint");
    c->number = ++r->last_cursor;
    r->endpoint_count += good ? count : 0;
    while (good && !list_is_empty(&made)) {
        struct endpoint *e = LIST_ENTRY(list_first(&made), struct endpoint, link);
        name_endpoint(d, e);
        list_remove(&e->link);
        list_append(&d->endpoints, &e->link);
    }
    endpoint_unlock(r);
    wake_and_drop(&made);
    return good;
}

void endpoint_withdraw(struct endpoint_registry *r, struct endpoint_declarer *d,
                       const struct endpoint_cursor *c)
{
    struct list gone;
    list_init(&gone);
    endpoint_lock(r);
    for (ENDPOINT_EACH(&d->endpoints, link, next)) {
        struct endpoint *e = LIST_ENTRY(link, struct endpoint, link);
        if (e->cursor == c)
            withdraw(e, &gone);
    }
    endpoint_unlock(r);
    wake_and_drop(&gone);
}

bool endpoint_check(struct endpoint_registry *r, struct endpoint_declarer *d, const char *cursor,
                    bool *exists, bool *finished, struct err *err)
{
    bool good = true;
    *exists = false;
    *finished = true;
    endpoint_lock(r);
    for (ENDPOINT_EACH(&d->endpoints, link, next)) {
        const struct endpoint *e = LIST_ENTRY(link, struct endpoint, link);
        if (strcmp(e->cursor->name, cursor) != 0)
            continue;
        *exists = true;
        *finished = *finished && e->state == ENDPOINT_FINISHED;
        if (e->state == ENDPOINT_RELEASED && good) {
            *err = e->failure;
            good = false;
        }
    }
    endpoint_unlock(r);
    return good;
}

/* ---- CancelRequest ---- */

bool endpoint_cancel(struct endpoint_registry *r, uint32_t pid, struct slice key)
{
    bool is_receiver = false;
    endpoint_lock(r);
    for (ENDPOINT_EACH(&r->parties, link, next)) {
        struct endpoint_party *p = LIST_ENTRY(link, struct endpoint_party, link);
        if (p->pid != pid || p->key_bytes != key.len || key.len == 0 ||
            !crypto_equals(p->key, key.data, key.len))
            continue;
        atomic_store(&p->is_canceled, true);
        endpoint_wake(p);
        is_receiver = is_receiver || p->is_receiver;
    }
    endpoint_unlock(r);
    return is_receiver;
}
