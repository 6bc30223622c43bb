/* The registry of endpoints: lists under one mutex, held for the length of a look.
 *
 * Order of things that others can see: the token is in the registry before any endpoint is, so that
 * nobody finds an endpoint to which he cannot log in. All endpoints of a cursor come and go together.
 *
 * Nobody is called under the lock; a party is woken by posting its own mail, which cannot fail. */
#include "endpoint.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "protocol/crypto.h"

#include "loop.h"

#define SCRAM_ITERATIONS 4096 /* fewer would do for a token of 128 bits; some drivers insist */

struct endpoint_registry {
    pthread_mutex_t lock;
    struct list declarers;
    struct list parties;
    uint8_t salt[16]; /* one for all tokens, so that one challenge serves all that a user has */
    struct scram_verifier nobody;
    uint32_t last_cursor;
    size_t endpoint_count;
    struct list users;    /* of struct user_places */
    unsigned place_count; /* of workers' connections that are taken */
};

#define MAX_ENDPOINTS 16384u

struct user_places {
    struct list link;
    unsigned count;
    char user[ENDPOINT_NAME_BYTES];
};

static void lock(struct endpoint_registry *r)
{
    pthread_mutex_lock(&r->lock);
}

static void unlock(struct endpoint_registry *r)
{
    pthread_mutex_unlock(&r->lock);
}

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

static struct endpoint *endpoint_ref(struct endpoint *e)
{
    atomic_fetch_add(&e->refs, 1);
    return e;
}

#define EACH(head, at, behind)                                                                     \
    struct list *at = (head)->next, *behind = at->next;                                            \
    at != (head);                                                                                  \
    at = behind, behind = at->next

static struct endpoint *find_endpoint(const struct endpoint_declarer *d, const char *name)
{
    for (EACH(&d->endpoints, link, next)) {
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
    lock(r);
    list_append(&r->declarers, &d->link);
    list_append(&r->parties, &d->party.link);
    unlock(r);
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
    lock(r);
    list_remove(&d->link);
    list_remove(&d->party.link);
    for (EACH(&d->endpoints, link, next))
        withdraw(LIST_ENTRY(link, struct endpoint, link), &gone);
    unlock(r);
    wake_and_drop(&gone);
    endpoint_party_unref(&d->party);
}

void endpoint_set_parameters(struct endpoint_registry *r, struct endpoint_declarer *d,
                             struct buf *parameters)
{
    lock(r);
    struct buf old = d->parameters;
    d->parameters = *parameters;
    unlock(r);
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
        if (find_endpoint(d, e->name) == NULL)
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
    lock(r);
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
    unlock(r);
    wake_and_drop(&made);
    return good;
}

void endpoint_withdraw(struct endpoint_registry *r, struct endpoint_declarer *d,
                       const struct endpoint_cursor *c)
{
    struct list gone;
    list_init(&gone);
    lock(r);
    for (EACH(&d->endpoints, link, next)) {
        struct endpoint *e = LIST_ENTRY(link, struct endpoint, link);
        if (e->cursor == c)
            withdraw(e, &gone);
    }
    unlock(r);
    wake_and_drop(&gone);
}

bool endpoint_check(struct endpoint_registry *r, struct endpoint_declarer *d, const char *cursor,
                    bool *exists, bool *finished, struct err *err)
{
    bool good = true;
    *exists = false;
    *finished = true;
    lock(r);
    for (EACH(&d->endpoints, link, next)) {
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
    unlock(r);
    return good;
}

/* ---- lists ---- */

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
    lock(r);
    for (EACH(&r->declarers, link, next)) {
        const struct endpoint_declarer *d = LIST_ENTRY(link, struct endpoint_declarer, link);
        if (strcmp(d->dbname, dbname) != 0 || (!is_superuser && strcmp(d->user, user) != 0))
            continue;
        for (EACH(&d->endpoints, item, after)) {
            const struct endpoint *e = LIST_ENTRY(item, struct endpoint, link);
            if (e->state != ENDPOINT_RELEASED || d == own)
                put_row(out, e, d == own);
        }
    }
    unlock(r);
    buf_append_byte(out, ']');
    return !out->failed;
}

/* ---- retrieve sessions ---- */

void endpoint_receiver_open(struct endpoint_registry *r, struct endpoint_party *p)
{
    p->is_receiver = true;
    lock(r);
    list_append(&r->parties, &p->link);
    unlock(r);
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
    for (EACH(&d->endpoints, link, next)) {
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
    lock(r);
    list_remove(&p->link);
    for (EACH(&r->declarers, link, next)) {
        struct endpoint_declarer *d = LIST_ENTRY(link, struct endpoint_declarer, link);
        if (release_all_of(d, p) != NULL)
            endpoint_wake(&d->party); /* posts mail and returns */
    }
    unlock(r);
    endpoint_party_unref(p);
}

size_t endpoint_find_declarers(struct endpoint_registry *r, struct slice user, struct slice dbname,
                               struct endpoint_declarer **out, size_t max)
{
    size_t n = 0;
    lock(r);
    for (EACH(&r->declarers, link, next)) {
        struct endpoint_declarer *d = LIST_ENTRY(link, struct endpoint_declarer, link);
        if (n < max && slice_equals_cstr(user, d->user) && slice_equals_cstr(dbname, d->dbname)) {
            endpoint_party_ref(&d->party);
            out[n++] = d;
        }
    }
    unlock(r);
    return n;
}

void endpoint_copy_nobody(struct endpoint_registry *r, struct scram_verifier *out)
{
    *out = r->nobody; /* constant */
}

bool endpoint_copy_parameters(struct endpoint_registry *r, struct endpoint_declarer *d,
                              struct buf *out)
{
    lock(r);
    buf_append_slice(out, buf_slice(&d->parameters));
    unlock(r);
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
    lock(r);
    struct endpoint *e = find_endpoint(d, name);
    bool good = e != NULL ? attach(e, receiver, finished, err)
                          : err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE,
                                    "failed to attach non-existing endpoint %s", name);
    if (good)
        *out = endpoint_ref(e);
    unlock(r);
    return good;
}

/* From one state of those that a receiver holds to another. */
static void leave(struct endpoint *e, enum endpoint_state next, const struct err *failure)
{
    lock(e->registry);
    bool moves = e->state == ENDPOINT_RETRIEVING || e->state == ENDPOINT_ATTACHED;
    if (moves)
        e->state = next;
    if (moves && failure != NULL)
        e->failure = *failure;
    unlock(e->registry);
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
    lock(e->registry);
    bool is = e->is_withdrawn;
    unlock(e->registry);
    return is;
}

void endpoint_set_worker(struct endpoint *e, uint32_t pid)
{
    lock(e->registry);
    e->worker_pid = pid;
    unlock(e->registry);
}

bool endpoint_has_workers(struct endpoint_registry *r, struct endpoint_declarer *d)
{
    bool has = false;
    lock(r);
    for (EACH(&d->endpoints, link, next))
        has = has || LIST_ENTRY(link, struct endpoint, link)->worker_pid != 0;
    unlock(r);
    return has;
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
    lock(r);
    for (EACH(&d->endpoints, link, next)) {
        struct endpoint *e = LIST_ENTRY(link, struct endpoint, link);
        if (!is_among(e->worker_pid, pids, count))
            continue;
        e->is_withdrawn = true;
        e->state = ENDPOINT_RELEASED;
        err_set(&e->failure, SQLSTATE_QUERY_CANCELED,
                "the endpoint was released because it blocked a statement of its own session");
        if (e->receiver != NULL)
            endpoint_wake(e->receiver); /* posts mail and returns */
        n++;
    }
    unlock(r);
    return n;
}

/* ---- places ---- */

static struct user_places *find_user(struct endpoint_registry *r, const char *user)
{
    for (EACH(&r->users, link, next)) {
        struct user_places *u = LIST_ENTRY(link, struct user_places, link);
        if (strcmp(u->user, user) == 0)
            return u;
    }
    return NULL;
}

bool endpoint_take_place(struct endpoint_registry *r, const char *user, unsigned max_user,
                         unsigned max)
{
    lock(r);
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
    unlock(r);
    return free_place;
}

void endpoint_give_place(struct endpoint_registry *r, const char *user)
{
    lock(r);
    struct user_places *u = find_user(r, user);
    r->place_count--;
    if (--u->count == 0) {
        list_remove(&u->link);
        free(u);
    }
    unlock(r);
}

/* ---- CancelRequest ---- */

bool endpoint_cancel(struct endpoint_registry *r, uint32_t pid, struct slice key)
{
    bool is_receiver = false;
    lock(r);
    for (EACH(&r->parties, link, next)) {
        struct endpoint_party *p = LIST_ENTRY(link, struct endpoint_party, link);
        if (p->pid != pid || p->key_bytes != key.len || key.len == 0 ||
            !crypto_equals(p->key, key.data, key.len))
            continue;
        atomic_store(&p->is_canceled, true);
        endpoint_wake(p);
        is_receiver = is_receiver || p->is_receiver;
    }
    unlock(r);
    return is_receiver;
}
