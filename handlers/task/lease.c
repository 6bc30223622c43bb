/* Holding a lease: a connection of its own, a heartbeat, and the watch over what could end the run.
 *
 * The lease is a row's fencing number and lease_until. Nobody else claims the row while lease_until
 * lies ahead, and nobody commits an effect without the number (job.c). So a job that was stopped,
 * cut off or slow can do harm to nobody; what this file adds is speed: the successor does not wait
 * for a server process that still works for a dead client, and a job that must stop does so at once.
 *
 *   lease_open      the claimed row ── end predecessor's server processes ── advisory lock ── own pid
 *   thread          every second (or NOTIFY): has the state changed?   every 5 s: lease_until
 *                   no answer for 12 s: we may have lost it             SIGTERM: the worker wants us gone
 *                   any of these: stop is set, and the `targets` are cancelled until it has ended
 *
 * A row that somebody holds locked (a pg_task_pause in an open transaction) is no reason to stop: the
 * heartbeat gives up after 2 s and comes back; nobody can claim a locked row either (SKIP LOCKED).
 *
 * The lease connection runs no text of a user: pg_advisory_unlock_all() there would free the lock.
 * When it breaks, it is opened again while the lease lasts. A process that was told to stop and does
 * not within 10 s ends itself: code that neither asks job_must_stop nor waits for the server. */
#include "lease.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define LEASE_LOOK_MS 1000
#define LEASE_REOPEN_MS 250 /* workers doubt a lease without connection for 1.5 s (database.c) */
#define LEASE_BEAT_MS (JOB_HEARTBEAT_S * 1000)
#define LEASE_SILENCE_MS ((JOB_LEASE_S - 3) * 1000)
#define LEASE_ANSWER_MS 4000
#define LEASE_CANCEL_MS 100
#define LEASE_STUCK_MS 10000
#define LEASE_TAKE_MS 10000

static const char sql_setup[] = "SET lock_timeout = '2s'; LISTEN pgveneer_task";
/* Ends what is left of the run before; of our own run, when the lease connection was lost, only the
 * old lease connection ($3 false). */
static const char sql_end_predecessor[] =
    "SELECT pg_catalog.pg_terminate_backend(a.pid)"
    "  FROM pgveneer.task t JOIN pg_catalog.pg_stat_activity a"
    "    ON a.pid = t.lease_pid AND a.backend_start = t.lease_start"
    "    OR $3::boolean AND (a.pid = t.work_pid AND a.backend_start = t.work_start"
    "       OR (a.pid, a.backend_start) IN (SELECT p.pid, p.backend_start"
    "             FROM pgveneer.task_process p WHERE p.task_id = t.task_id))"
    " WHERE t.task_id = $1 AND t.fencing = $2::bigint";
static const char sql_lock[] =
    "SELECT pg_catalog.pg_try_advisory_lock("
    "pg_catalog.hashtextextended('pgveneer task ' OPERATOR(pg_catalog.||) $1, 0))";
/* A run that begins has no connections beside. */
static const char sql_hold[] =
    "WITH before AS ("
    "  DELETE FROM pgveneer.task_process p USING pgveneer.task t"
    "   WHERE $3::boolean AND t.task_id = $1 AND t.fencing = $2::bigint AND p.task_id = t.task_id)"
    "UPDATE pgveneer.task t SET lease_until = pg_catalog.clock_timestamp() + interval '15 seconds',"
    "       lease_pid = a.pid, lease_start = a.backend_start,"
    "       holder_fencing = fencing, holder_pid = a.pid, holder_start = a.backend_start,"
    "       work_pid = CASE WHEN $3::boolean THEN NULL ELSE t.work_pid END,"
    "       work_start = CASE WHEN $3::boolean THEN NULL ELSE t.work_start END"
    "  FROM pg_catalog.pg_stat_activity a"
    " WHERE a.pid = pg_catalog.pg_backend_pid() AND task_id = $1 AND fencing = $2::bigint"
    " RETURNING t.state, pg_catalog.clock_timestamp()";
/* A task that is asked for (003_asking.sql) has to stop when nobody waits any more. */
#define STATE                                                                                      \
    "CASE WHEN asker IS NULL OR pgveneer.is_asked_for(asker) THEN state ELSE '" UNASKED "' END"
#define UNASKED "unasked"
static const char sql_look[] =
    "SELECT " STATE " FROM pgveneer.task WHERE task_id = $1 AND fencing = $2::bigint";
static const char sql_beat[] =
    "UPDATE pgveneer.task SET lease_until = pg_catalog.clock_timestamp() + interval '15 seconds'"
    " WHERE task_id = $1 AND fencing = $2::bigint AND lease_until IS NOT NULL RETURNING " STATE;

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_ms(int ms)
{
    poll(NULL, 0, ms);
}

void lease_request_stop(struct job_lease *l, enum lease_stop why)
{
    int none = LEASE_STOP_NONE;
    if (atomic_compare_exchange_strong(&l->stop, &none, (int)why))
        log_info(l->who, "the run stops: %s", lease_stop_text(why));
}

/* ---- taking the lease ------------------------------------------------------------------------ */

/* $3 of the statements above, true when a run begins. */
static bool query(struct job_lease *l, const char *sql, size_t count, bool begins,
                  struct pgresult **out, struct err *err)
{
    const char *const values[] = {l->task_id, l->fencing, begins ? "true" : "false"};
    return pgclient_query(l->conn, sql, count, values, out, err);
}

/* *gone: none of the predecessor's server processes is there any more. */
static bool end_predecessor(struct job_lease *l, bool begins, bool *gone, struct err *err)
{
    struct pgresult *r;
    if (!query(l, sql_end_predecessor, 3, begins, &r, err))
        return false;
    *gone = pgresult_rows(r) == 0;
    pgresult_free(r);
    return true;
}

static bool try_lock(struct job_lease *l, bool *got, struct err *err)
{
    struct pgresult *r;
    if (!query(l, sql_lock, 1, false, &r, err))
        return false;
    *got = pgresult_bool(r, 0, 0);
    pgresult_free(r);
    return true;
}

static bool hold(struct job_lease *l, bool begins, bool *held, struct err *err)
{
    struct pgresult *r;
    if (!query(l, sql_hold, 3, begins, &r, err))
        return false;
    *held = pgresult_rows(r) == 1 && strcmp(pgresult_value(r, 0, 0), "active") == 0;
    if (*held && begins)
        snprintf(l->run_start, sizeof l->run_start, "%s", pgresult_value(r, 0, 1));
    pgresult_free(r);
    return true;
}

/* begins  a run begins; false: its lease connection was lost */
static bool take(struct job_lease *l, bool begins, bool *held, struct err *err)
{
    int64_t deadline = clock_ms() + LEASE_TAKE_MS;
    bool gone = false;
    bool locked = false;
    if (!pgclient_open(l->service, l->dbname, l->purpose, &l->conn, err))
        return false;
    pgclient_set_timeout(l->conn, LEASE_ANSWER_MS);
    if (!pgclient_run(l->conn, sql_setup, err))
        return false;
    for (;;) {
        if (!end_predecessor(l, begins, &gone, err) || (gone && !try_lock(l, &locked, err)))
            return false;
        if (locked)
            break;
        if (clock_ms() > deadline)
            return err_set(err, SQLSTATE_LOCK_NOT_AVAILABLE,
                           "the server processes of the run before have not ended within %d s",
                           LEASE_TAKE_MS / 1000);
        pause_ms(20);
    }
    int64_t asked_ms = clock_ms();
    if (!hold(l, begins, held, err))
        return false;
    l->beat_ms = asked_ms;
    return true;
}

static bool catch_signals(struct job_lease *l, struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    l->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    l->over_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->signal_fd < 0 || l->over_fd < 0)
        return err_set_errno(err, errno, "could not make an event descriptor");
    return true;
}

bool lease_open(struct job_lease *l, const char *service, const struct job_call *call, bool *held,
                struct err *err)
{
    memset(l, 0, sizeof *l);
    l->signal_fd = l->over_fd = -1;
    l->service = service;
    l->dbname = call->dbname;
    l->task_id = call->task_id;
    snprintf(l->fencing, sizeof l->fencing, "%" PRId64, call->fencing);
    snprintf(l->who, sizeof l->who, "task %.80s", call->task_id);
    snprintf(l->purpose, sizeof l->purpose, "pgveneer lease %.48s", call->task_id);
    atomic_init(&l->stop, LEASE_STOP_NONE);
    atomic_init(&l->over, false);
    atomic_init(&l->progressed, false);
    pthread_mutex_init(&l->target_lock, NULL);
    *held = false;
    return catch_signals(l, err) && take(l, true, held, err);
}

void lease_close(struct job_lease *l)
{
    lease_unguard(l);
    pgclient_close(l->conn);
    l->conn = NULL;
    if (l->signal_fd >= 0)
        close(l->signal_fd);
    if (l->over_fd >= 0)
        close(l->over_fd);
    pthread_mutex_destroy(&l->target_lock);
}

/* ---- keeping it: the thread ------------------------------------------------------------------ */

static void open_again(struct job_lease *l)
{
    struct err err;
    bool held;
    pgclient_close(l->conn);
    l->conn = NULL;
    if (!take(l, false, &held, &err)) {
        log_err(LOG_LEVEL_WARNING, l->who, "the lease connection is lost", &err);
        pgclient_close(l->conn);
        l->conn = NULL;
        return;
    }
    if (!held)
        lease_request_stop(l, LEASE_STOP_LOST);
}

/* Asks for the state, and extends the lease when it is time. */
static void look(struct job_lease *l)
{
    int64_t asked_ms = clock_ms();
    bool beat = asked_ms - l->beat_ms >= LEASE_BEAT_MS;
    struct pgresult *r;
    struct err err;
    if (!query(l, beat ? sql_beat : sql_look, 2, false, &r, &err)) {
        if (strcmp(err.sqlstate, SQLSTATE_LOCK_NOT_AVAILABLE) == 0)
            l->beat_ms = asked_ms - LEASE_BEAT_MS; /* the server is there; try at the next look */
        else
            log_err(LOG_LEVEL_WARNING, l->who, "heartbeat failed", &err);
        return;
    }
    if (pgresult_rows(r) == 0)
        lease_request_stop(l, LEASE_STOP_LOST);
    else if (strcmp(pgresult_value(r, 0, 0), UNASKED) == 0)
        lease_request_stop(l, LEASE_STOP_UNASKED);
    else if (strcmp(pgresult_value(r, 0, 0), "active") != 0)
        lease_request_stop(l, LEASE_STOP_PAUSED);
    if (beat)
        l->beat_ms = asked_ms;
    pgresult_free(r);
}

static void cancel_targets(struct job_lease *l)
{
    struct err err;
    pthread_mutex_lock(&l->target_lock);
    for (size_t i = 0; i < LEASE_TARGETS; i++) {
        struct pgclient *target = l->targets[i];
        if (target != NULL && pgclient_is_alive(target) && !pgclient_cancel(target, &err))
            log_err(LOG_LEVEL_WARNING, l->who, "cancel failed", &err);
    }
    pthread_mutex_unlock(&l->target_lock);
}

/* Waits for a signal, the end, a notification or the time. */
static void wait_for_news(struct job_lease *l, int wait_ms)
{
    struct pollfd fds[] = {
        {.fd = l->signal_fd, .events = POLLIN},
        {.fd = l->over_fd, .events = POLLIN},
        {.fd = l->conn == NULL ? -1 : pgclient_socket(l->conn), .events = POLLIN}};
    struct signalfd_siginfo info;
    struct err err;
    bool got;
    poll(fds, 3, wait_ms);
    if (read(l->signal_fd, &info, sizeof info) == sizeof info)
        lease_request_stop(l, LEASE_STOP_SIGNAL);
    if (fds[2].revents != 0 && !pgclient_wait_notify(l->conn, 0, &got, &err))
        log_err(LOG_LEVEL_WARNING, l->who, "the lease connection is lost", &err);
}

static void end_if_stuck(const struct job_lease *l, int64_t stopped_ms)
{
    if (stopped_ms == 0 || clock_ms() - stopped_ms < LEASE_STUCK_MS)
        return;
    log_error(l->who, "the run does not stop: the process ends itself");
    _exit(JOB_EXIT_STUCK);
}

static void *guard(void *arg)
{
    struct job_lease *l = arg;
    int64_t stopped_ms = 0;
    prctl(PR_SET_NAME, "pgv-lease");
    while (!atomic_load(&l->over)) {
        bool stops = lease_stop_of(l) != LEASE_STOP_NONE;
        if (!stops && (l->conn == NULL || !pgclient_is_alive(l->conn)))
            open_again(l);
        if (!stops && l->conn != NULL && pgclient_is_alive(l->conn))
            look(l);
        if (!stops && clock_ms() - l->beat_ms > LEASE_SILENCE_MS)
            lease_request_stop(l, LEASE_STOP_SILENT);
        if (lease_stop_of(l) != LEASE_STOP_NONE) {
            stopped_ms = stopped_ms == 0 ? clock_ms() : stopped_ms;
            cancel_targets(l);
            end_if_stuck(l, stopped_ms);
        }
        if (!atomic_load(&l->over))
            wait_for_news(l, stopped_ms != 0   ? LEASE_CANCEL_MS
                             : l->conn == NULL ? LEASE_REOPEN_MS
                                               : LEASE_LOOK_MS);
        if (stopped_ms != 0 && !atomic_load(&l->over))
            pause_ms(LEASE_CANCEL_MS / 2); /* notifications must not turn this into a spin */
    }
    return NULL;
}

bool lease_guard(struct job_lease *l, struct err *err)
{
    int failed = pthread_create(&l->thread, NULL, guard, l);
    if (failed != 0)
        return err_set_errno(err, failed, "could not start the lease thread");
    l->guarded = true;
    return true;
}

void lease_unguard(struct job_lease *l)
{
    uint64_t one = 1;
    struct timespec limit;
    if (!l->guarded)
        return;
    atomic_store(&l->over, true);
    if (write(l->over_fd, &one, sizeof one) != sizeof one)
        log_warning(l->who, "could not wake the lease thread");
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += LEASE_STUCK_MS / 1000;
    if (pthread_timedjoin_np(l->thread, NULL, &limit) !=
        0) { /* waits for a server that is silent */
        log_error(l->who, "the lease thread does not end: the process ends itself");
        _exit(JOB_EXIT_STUCK);
    }
    l->guarded = false;
}

/* ---- for the run ----------------------------------------------------------------------------- */

static bool replace_target(struct job_lease *l, const struct pgclient *before,
                           struct pgclient *after)
{
    bool found = false;
    pthread_mutex_lock(&l->target_lock);
    for (size_t i = 0; i < LEASE_TARGETS && !found; i++) {
        found = l->targets[i] == before;
        if (found)
            l->targets[i] = after;
    }
    pthread_mutex_unlock(&l->target_lock);
    return found;
}

bool lease_aim(struct job_lease *l, struct pgclient *target)
{
    return replace_target(l, NULL, target);
}

void lease_unaim(struct job_lease *l, const struct pgclient *target)
{
    if (target != NULL)
        (void)replace_target(l, target, NULL);
}

bool lease_sleep(struct job_lease *l, int wait_ms)
{
    int64_t end = clock_ms() + wait_ms;
    while (lease_stop_of(l) == LEASE_STOP_NONE && clock_ms() < end)
        pause_ms(20);
    return lease_stop_of(l) == LEASE_STOP_NONE;
}

enum lease_stop lease_stop_of(const struct job_lease *l)
{
    return (enum lease_stop)atomic_load(&l->stop);
}

const char *lease_stop_text(enum lease_stop stop)
{
    static const char *const texts[] = {
#define X(name, text) text,
        LEASE_STOPS(X)
#undef X
    };
    return texts[stop];
}
