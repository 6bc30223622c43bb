/* Asks travel, connections stay.
 *
 *     asking loop                    home loop
 *     control_query  -- mail -->     on_ask: queue of the database
 *                                    pump: connect, or send the first of the queue
 *     done(…)        <-- mail --     answer
 *
 * An ask is moved, never shared: while it is at home only `done`, `arg` and its mail belong to the
 * asking loop, so control_forget can clear `done` there without a lock. A NOTIFY has no asker and is
 * freed at home.
 *
 * Each database has one connection and one queue; one ask is sent at a time, in order. Two kinds are
 * melted together: asks for the support schema that find one under way wait beside it, and a NOTIFY
 * that finds one waiting is that one. `installed` lasts as long as the connection: a database that
 * was dropped and made again is looked at again, at the price of a few milliseconds.
 *
 * A lost connection ends the ask that was under way, since nobody knows how far it came; the others
 * stay in the queue and the next connection takes them. A connection that cannot be made ends all.
 * The one timer of a database is the deadline of its oldest ask, or, when there is none, the time
 * until the idle connection is closed. */
#include "control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "control_ask.h"
#include "control_conn.h"
#include "conn.h"
#include "conninfo.h"
#include "loop.h"
#include "mailbox.h"
#include "protocol/crypto.h"
#include "tls.h"

#define WHO "control"
#define MAX_SQL_BYTES ((size_t)1024 * 1024)
#define MAX_SCRIPT_BYTES ((size_t)3 * 1024 * 1024)
#define NAME_BYTES 64 /* NAMEDATALEN */

struct database {
    struct list link;
    struct control *control;
    char name[NAME_BYTES];
    struct control_conn *conn; /* owns; NULL: not connected */
    bool ready;                /* the login succeeded, nothing is under way */
    bool installed;
    struct list queue;           /* asks to be sent */
    struct control_ask *current; /* sent */
    struct list beside;          /* asks for what `current` or one in the queue installs */
    struct timer *timer;
};

struct control {
    struct loop *home;
    bool configured;
    struct conninfo info;
    struct conn_target target; /* tls points at tls */
    struct tls_slot tls;
    struct buf passfile;
    struct buf script;
    _Atomic uint64_t ask_timeout_ms;
    _Atomic uint64_t idle_timeout_ms;
    struct list databases;
};

/* ---- a database --------------------------------------------------------- */

static void pump(struct database *db);

static struct control_ask *oldest_ask(const struct database *db)
{
    if (db->current != NULL || list_is_empty(&db->queue))
        return db->current;
    return LIST_ENTRY(list_first(&db->queue), struct control_ask, link);
}

static void set_timer(struct database *db)
{
    const struct control_ask *ask = oldest_ask(db);
    uint64_t now = loop_now_ms();
    if (ask != NULL)
        timer_start(db->timer, ask->deadline_ms > now ? ask->deadline_ms - now : 0);
    else if (db->conn != NULL)
        timer_start(db->timer, db->control->idle_timeout_ms);
    else
        timer_stop(db->timer);
}

static void disconnect(struct database *db)
{
    control_conn_free(db->conn);
    db->conn = NULL;
    db->ready = false;
    db->installed = false;
}

/* Ends the ask under way, and those who wait for its effect. */
static void end_current(struct database *db, const struct err *err)
{
    struct control_ask *ask = db->current;
    db->current = NULL;
    if (ask->kind == ASK_INSTALL) {
        db->installed = err == NULL;
        if (err == NULL)
            log_info(WHO, "support schema of database \"%s\" is up to date", db->name);
        control_ask_answer_all(&db->beside, err);
    }
    control_ask_answer(ask, err);
}

/* No connection can be made: everybody hears it. */
static void end_all(struct database *db, const struct err *err)
{
    if (db->current != NULL)
        end_current(db, err);
    control_ask_answer_all(&db->queue, err);
    control_ask_answer_all(&db->beside, err);
}

static void on_conn_ready(void *owner)
{
    struct database *db = owner;
    db->ready = true;
    log_debug(WHO, "connected to database \"%s\"", db->name);
    pump(db);
}

static void on_conn_done(void *owner, const struct err *err)
{
    struct database *db = owner;
    end_current(db, err);
    db->ready = true;
    pump(db);
}

static void on_conn_lost(void *owner, const struct err *err)
{
    struct database *db = owner;
    bool was_busy = db->current != NULL;
    bool was_ready = db->ready || was_busy;
    log_err(was_ready ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, WHO,
            was_ready ? "connection lost" : "cannot connect", err);
    disconnect(db);
    if (was_busy)
        end_current(db, err);
    else if (!was_ready)
        end_all(db, err);
    pump(db);
}

static const struct control_conn_events conn_events = {
    .on_ready = on_conn_ready, .on_done = on_conn_done, .on_lost = on_conn_lost};

/* The password of the string, or of the password file; "" if there is none. */
static void find_password(const struct database *db, char *out, size_t size)
{
    const struct control *c = db->control;
    snprintf(out, size, "%s", c->info.password);
    if (out[0] == '\0')
        (void)conninfo_find_password(buf_slice(&c->passfile), &c->info, slice_cstr(db->name), out,
                                     size);
}

static void connect_database(struct database *db)
{
    struct control *c = db->control;
    char password[CONNINFO_VALUE_BYTES] = "";
    struct credential credential;
    struct control_login login = {c->info.user, db->name, "pgveneer control", &credential, NULL};
    struct err err;
    find_password(db, password, sizeof password);
    (void)credential_set_password(&credential, slice_cstr(password)); /* there is room for all */
    db->conn = control_conn_new(c->home, &c->target, &login, &conn_events, db);
    crypto_wipe(password, sizeof password);
    credential_wipe(&credential);
    if (db->conn == NULL) {
        err_no_memory(&err);
        end_all(db, &err);
    }
}

static void send_ask(struct database *db, struct control_ask *ask)
{
    db->current = ask;
    db->ready = false;
    set_timer(db);
    if (ask->kind == ASK_INSTALL)
        control_conn_send_script(db->conn, buf_slice(&db->control->script), &ask->rows);
    else if (ask->kind == ASK_NOTIFY)
        control_conn_send_script(db->conn, slice_cstr("NOTIFY pgveneer_task"), &ask->rows);
    else
        control_conn_send_query(db->conn, slice_cstr(ask->sql), ask->params, ask->nparams,
                                &ask->rows);
}

/* Does what can be done now. Called after every change. */
static void pump(struct database *db)
{
    if (db->conn == NULL && oldest_ask(db) != NULL)
        connect_database(db);
    if (db->conn != NULL && db->ready && !list_is_empty(&db->queue)) {
        struct control_ask *ask = LIST_ENTRY(list_first(&db->queue), struct control_ask, link);
        list_remove(&ask->link);
        send_ask(db, ask);
        return;
    }
    set_timer(db);
}

static void on_timer(void *arg)
{
    struct database *db = arg;
    struct control_ask *ask = oldest_ask(db);
    struct err err;
    if (ask == NULL) {
        log_debug(WHO, "closing the idle connection to database \"%s\"", db->name);
        disconnect(db);
        return;
    }
    err_set(&err, SQLSTATE_QUERY_CANCELED,
            "the database did not answer pgveneer's own connection in time");
    if (db->conn != NULL)
        control_conn_cancel(db->conn);
    disconnect(db);
    if (db->current != NULL)
        end_current(db, &err);
    else
        end_all(db, &err);
    pump(db);
}

/* ---- databases ---------------------------------------------------------- */

static struct database *find_database(struct control *c, const char *name)
{
    for (struct list *l = c->databases.next; l != &c->databases; l = l->next) {
        struct database *db = LIST_ENTRY(l, struct database, link);
        if (strcmp(db->name, name) == 0)
            return db;
    }
    return NULL;
}

static struct database *new_database(struct control *c, const char *name)
{
    struct database *db = calloc(1, sizeof *db);
    struct timer *timer = db == NULL ? NULL : timer_new(c->home, on_timer, db);
    if (timer == NULL) {
        free(db);
        return NULL;
    }
    db->control = c;
    db->timer = timer;
    snprintf(db->name, sizeof db->name, "%s", name);
    list_init(&db->queue);
    list_init(&db->beside);
    list_append(&c->databases, &db->link);
    return db;
}

static void free_asks(struct list *asks)
{
    while (!list_is_empty(asks)) {
        struct control_ask *ask = LIST_ENTRY(list_first(asks), struct control_ask, link);
        list_remove(&ask->link);
        control_ask_free(ask);
    }
}

static void free_database(struct database *db)
{
    list_remove(&db->link);
    control_conn_free(db->conn);
    timer_free(db->timer);
    if (db->current != NULL)
        control_ask_free(db->current);
    free_asks(&db->queue);
    free_asks(&db->beside);
    free(db);
}

/* ---- asks --------------------------------------------------------------- */

static bool has_kind(const struct database *db, enum ask_kind kind)
{
    for (struct list *l = db->queue.next; l != &db->queue; l = l->next)
        if (LIST_ENTRY(l, struct control_ask, link)->kind == kind)
            return true;
    return false;
}

static void queue_ask(struct database *db, struct control_ask *ask)
{
    bool installing =
        has_kind(db, ASK_INSTALL) || (db->current != NULL && db->current->kind == ASK_INSTALL);
    if (ask->kind == ASK_INSTALL && db->installed)
        control_ask_answer(ask, NULL);
    else if (ask->kind == ASK_INSTALL && installing)
        list_append(&db->beside, &ask->link);
    else if (ask->kind == ASK_NOTIFY && has_kind(db, ASK_NOTIFY))
        control_ask_free(ask);
    else
        list_append(&db->queue, &ask->link);
    pump(db);
}

/* On the home loop. */
static void on_ask(struct mail *m)
{
    struct control_ask *ask = MAIL_ENTRY(m, struct control_ask, mail);
    struct control *c = ask->control;
    struct err err;
    struct database *db = find_database(c, ask->dbname);
    if (db == NULL)
        db = new_database(c, ask->dbname);
    if (db == NULL) {
        err_no_memory(&err);
        control_ask_answer(ask, &err);
        return;
    }
    ask->deadline_ms = loop_now_ms() + c->ask_timeout_ms;
    queue_ask(db, ask);
}

static bool refuse_unconfigured(struct err *err)
{
    err_set(err, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "this statement needs the service login of pgveneer, which is not configured");
    return err_hint(err, "Set \"service\" in the configuration of pgveneer.");
}

static void post_ask(struct control_ask *ask)
{
    if (strlen(ask->dbname) >= NAME_BYTES)
        err_set(&ask->err, SQLSTATE_INVALID_CATALOG_NAME, "database \"%s\" does not exist",
                ask->dbname);
    else if (!ask->control->configured)
        refuse_unconfigured(&ask->err);
    if (err_is_set(&ask->err)) {
        control_ask_answer(ask, NULL);
        return;
    }
    ask->mail.on_receive = on_ask;
    loop_post(ask->control->home, &ask->mail);
}

struct control_ask *control_install(struct control *c, struct loop *from, struct slice dbname,
                                    control_done_fn *done, void *arg)
{
    struct control_ask *ask = control_ask_new(c, from, ASK_INSTALL, dbname, done, arg);
    if (ask != NULL)
        post_ask(ask);
    return ask;
}

void control_notify(struct control *c, struct loop *from, struct slice dbname)
{
    (void)from;
    if (!c->configured)
        return;
    struct control_ask *ask = control_ask_new(c, NULL, ASK_NOTIFY, dbname, NULL, NULL);
    if (ask != NULL)
        post_ask(ask);
}

struct control_ask *control_query(struct control *c, struct loop *from, struct slice dbname,
                                  const char *sql, const char *const *params, uint16_t nparams,
                                  control_done_fn *done, void *arg)
{
    struct control_ask *ask = control_ask_new(c, from, ASK_QUERY, dbname, done, arg);
    if (ask == NULL)
        return NULL;
    if (!control_ask_copy_query(ask, sql, params, nparams)) {
        control_ask_free(ask);
        return NULL;
    }
    if (ask->arena.used_bytes > MAX_SQL_BYTES)
        err_set(&ask->err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "a query of pgveneer is too long");
    post_ask(ask);
    return ask;
}

/* ---- life --------------------------------------------------------------- */

bool control_load_tls(struct control *c, struct err *err)
{
    struct tls_settings settings;
    struct tls_policy *policy;
    if (!c->configured)
        return true;
    conninfo_tls(&c->info, &settings);
    if (!tls_policy_new(TLS_CONNECTS, &settings, &policy, err))
        return false;
    tls_slot_put(&c->tls, policy);
    return true;
}

static bool configure(struct control *c, const char *service, const struct migration_list *lists,
                      size_t list_count, struct err *err)
{
    if (service == NULL || service[0] == '\0')
        return true;
    if (!conninfo_read(service, &c->info, err))
        return false;
    if (c->info.passfile[0] != '\0' && !conninfo_read_passfile(c->info.passfile, &c->passfile, err))
        return false;
    if (!conn_resolve(c->info.host, c->info.port, &c->target, err))
        return false;
    if (!migration_script(lists, list_count, &c->script))
        return err_no_memory(err);
    c->configured = true;
    c->target.tls = &c->tls;
    return control_load_tls(c, err);
}

bool control_new(struct loop *home, const char *service, const struct migration_list *lists,
                 size_t list_count, struct control **out, struct err *err)
{
    *out = NULL;
    struct control *c = calloc(1, sizeof *c);
    if (c == NULL)
        return err_no_memory(err);
    c->home = home;
    tls_slot_init(&c->tls);
    c->ask_timeout_ms = 15000;
    c->idle_timeout_ms = 60000;
    list_init(&c->databases);
    buf_init(&c->passfile, CONNINFO_MAX_PASSFILE_BYTES);
    buf_init(&c->script, MAX_SCRIPT_BYTES);
    err_clear(err);
    if (!configure(c, service, lists, list_count, err)) {
        control_free(c);
        return false;
    }
    *out = c;
    return true;
}

void control_free(struct control *c)
{
    if (c == NULL)
        return;
    while (!list_is_empty(&c->databases))
        free_database(LIST_ENTRY(list_first(&c->databases), struct database, link));
    conninfo_fini(&c->info);
    tls_slot_fini(&c->tls);
    crypto_wipe_buf(&c->passfile);
    buf_fini(&c->passfile);
    buf_fini(&c->script);
    free(c);
}

void control_set_timeouts(struct control *c, uint64_t ask_ms, uint64_t idle_ms)
{
    c->ask_timeout_ms = ask_ms;
    c->idle_timeout_ms = idle_ms;
}
