/* The scheduler. It holds no state that matters: what is due, who runs it and what became of it stand
 * in the task rows, so a worker can die at any moment and any number of them can serve one database.
 *
 *   turn:  children that ended ── claims of crashed ones freed ── free slots filled, one task of each
 *          database in turn ── wait: NOTIFY, a child's end, a signal, or a second
 *
 * A job that crashed is started again at once, by whoever claims it first; crash_times in the row makes
 * the third crash of a run a failure (job_main.c). A claim that runs out (the connection of its owner is
 * gone, or the job hangs) is taken by any worker; should the process of the older claim be our own child, it
 * is killed: it could commit nothing any more.
 *
 * A task that somebody waits for need not wait behind long ones: there are a few more slots, which only
 * kinds with `is_awaited` use. */
#include "task/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "process.h"

#define WORKER_TURN_MS 1000
#define WORKER_SCAN_MS 10000
#define WORKER_CARE_MS 5000
#define WORKER_DRAIN_MS 30000
#define WORKER_AWAITED_SLOTS 4
#define WORKER_FREE_MS 30000 /* then the lease has run out anyway */

struct worker {
    const struct worker_settings *settings;
    struct databases databases;
    struct process *processes; /* owns; task_slots of them and WORKER_AWAITED_SLOTS */
    size_t slots;              /* of processes */
    size_t turn;               /* database whose turn it is */
    char name[96];             /* host:pid */
    char categories[512];      /* array literal */
    char awaited[512];         /* those that the last slots are for */
    int config_fd;
    int signal_fd;
    int64_t scan_ms;  /* when to look for databases again */
    int64_t care_ms;  /* when the kinds' next statements are due */
    int64_t drain_ms; /* 0: works; else when jobs that have not stopped are killed */
};

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void take_ends(struct worker *w)
{
    int status;
    for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
        for (size_t i = 0; i < w->slots; i++) {
            struct process *p = &w->processes[i];
            if (p->state != PROCESS_RUNNING || p->pid != pid)
                continue;
            process_on_end(p, status, clock_ms());
            if (p->crash[0] != '\0')
                log_warning("worker", "task %s: %s", p->claim.task_id, p->crash);
            else
                log_debug("worker", "task %s: process %d ended", p->claim.task_id, (int)pid);
        }
    }
}

static void free_claims(struct worker *w)
{
    for (size_t i = 0; i < w->slots; i++) {
        struct process *p = &w->processes[i];
        if (p->state != PROCESS_ENDED)
            continue;
        struct database *d = databases_get(&w->databases, p->dbname);
        if (d != NULL && database_is_ready(d, w->settings->service) &&
            database_free_claim(d, &p->claim, p->crash[0] == '\0' ? NULL : p->crash))
            p->state = PROCESS_FREE;
        else if (clock_ms() - p->ended_ms > WORKER_FREE_MS)
            p->state = PROCESS_FREE;
    }
}

/* Looks after owners that died where nobody saw their end. */
static void doubt_leases(struct worker *w)
{
    for (size_t i = 0; i < w->databases.count; i++)
        if (database_is_ready(&w->databases.items[i], w->settings->service))
            database_doubt(&w->databases.items[i]);
}

static void care(struct worker *w)
{
    if (clock_ms() < w->care_ms)
        return;
    w->care_ms = clock_ms() + WORKER_CARE_MS;
    for (size_t i = 0; i < w->databases.count; i++)
        for (size_t k = 0; k < w->settings->kind_count; k++)
            if (w->settings->kinds[k]->care != NULL &&
                database_is_ready(&w->databases.items[i], w->settings->service))
                database_care(&w->databases.items[i], w->settings->kinds[k]->care);
}

/* ---- starts ---------------------------------------------------------------------------------- */

static struct process *find_free(struct worker *w)
{
    for (size_t i = 0; i < w->slots; i++)
        if (w->processes[i].state == PROCESS_FREE)
            return &w->processes[i];
    return NULL;
}

/* What may be started in a slot. */
static const char *categories_of(const struct worker *w, const struct process *p)
{
    size_t slot = (size_t)(p - w->processes);
    return slot < w->slots - WORKER_AWAITED_SLOTS ? w->categories : w->awaited;
}

static void kill_older_run(struct worker *w, const struct database *d, const struct claim *claim)
{
    for (size_t i = 0; i < w->slots; i++) {
        struct process *p = &w->processes[i];
        if (p->state == PROCESS_RUNNING && strcmp(p->dbname, d->name) == 0 &&
            strcmp(p->claim.task_id, claim->task_id) == 0) {
            log_warning("worker", "task %s: process %d lost its lease and is killed",
                        claim->task_id, (int)p->pid);
            kill(p->pid, SIGKILL);
        }
    }
}

/* False: nothing due there. */
static bool start_one(struct worker *w, struct database *d, struct process *p)
{
    struct claim claim;
    struct err err;
    if (!database_is_ready(d, w->settings->service) ||
        !database_claim(d, categories_of(w, p), w->name, &claim))
        return false;
    kill_older_run(w, d, &claim);
    if (!process_start(p, w->settings->program, w->config_fd, d->name, &claim, &err)) {
        log_err(LOG_LEVEL_ERROR, "worker", "no job process", &err);
        return false; /* the claim runs out */
    }
    log_debug("worker", "task %s in %s: run %" PRId64 " is process %d", claim.task_id, d->name,
              claim.fencing, (int)p->pid);
    return true;
}

/* One task of each database in turn, until slots or due tasks are used up. */
static void fill_slots(struct worker *w)
{
    size_t idle = 0; /* databases in a row that had nothing */
    while (idle < w->databases.count) {
        struct process *p = find_free(w);
        if (p == NULL)
            return;
        w->turn = (w->turn + 1) % w->databases.count;
        idle = start_one(w, &w->databases.items[w->turn], p) ? 0 : idle + 1;
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void signal_all(struct worker *w, int signal)
{
    for (size_t i = 0; i < w->slots; i++) {
        if (w->processes[i].state != PROCESS_RUNNING)
            continue;
        w->processes[i].told_to_stop = true;
        kill(w->processes[i].pid, signal);
    }
}

static void on_stop_signal(struct worker *w)
{
    if (w->drain_ms != 0) {
        w->drain_ms = 1; /* at once */
        return;
    }
    log_info("worker", "stops: no new jobs, running ones are told to stop");
    w->drain_ms = clock_ms() + WORKER_DRAIN_MS;
    signal_all(w, SIGTERM);
}

static void take_signals(struct worker *w)
{
    struct signalfd_siginfo info;
    while (read(w->signal_fd, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD)
            on_stop_signal(w);
}

static void wait_for_news(struct worker *w, int wait_ms)
{
    size_t n = 1 + w->databases.count;
    struct pollfd *fds = calloc(n, sizeof *fds);
    if (fds == NULL) {
        poll(NULL, 0, wait_ms);
        return;
    }
    fds[0] = (struct pollfd){.fd = w->signal_fd, .events = POLLIN};
    for (size_t i = 0; i < w->databases.count; i++) {
        const struct pgclient *c = w->databases.items[i].conn;
        fds[1 + i] = (struct pollfd){.fd = c == NULL ? -1 : pgclient_socket(c), .events = POLLIN};
    }
    poll(fds, n, wait_ms);
    for (size_t i = 0; i < w->databases.count; i++)
        if (fds[1 + i].revents != 0)
            database_drain(&w->databases.items[i]);
    free(fds);
}

static bool has_process(const struct worker *w, bool running_only)
{
    for (size_t i = 0; i < w->slots; i++)
        if (w->processes[i].state == PROCESS_RUNNING ||
            (!running_only && w->processes[i].state == PROCESS_ENDED))
            return true;
    return false;
}

static void turn(struct worker *w)
{
    take_ends(w);
    if (clock_ms() >= w->scan_ms) {
        databases_find(&w->databases, w->settings->databases);
        w->scan_ms = clock_ms() + WORKER_SCAN_MS;
    }
    free_claims(w);
    doubt_leases(w);
    fill_slots(w);
    care(w);
    wait_for_news(w, WORKER_TURN_MS);
    take_signals(w);
}

/* Ends when the jobs have; claims that cannot be freed run out. */
static void drain(struct worker *w)
{
    while (has_process(w, true)) {
        if (clock_ms() > w->drain_ms)
            signal_all(w, SIGKILL);
        wait_for_news(w, 100);
        take_signals(w);
        take_ends(w);
    }
    free_claims(w);
}

static bool catch_signals(struct worker *w, sigset_t *before, struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, before);
    signal(SIGPIPE, SIG_IGN);
    w->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return w->signal_fd >= 0 || err_set_errno(err, errno, "could not make a signal descriptor");
}

static void list_categories(const struct worker *w, bool awaited_only, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "{");
    for (size_t i = 0; i < w->settings->kind_count && n < size; i++)
        if (!awaited_only || w->settings->kinds[i]->is_awaited)
            n += (size_t)snprintf(out + n, size - n, "%s\"%s\"", n == 1 ? "" : ",",
                                  w->settings->kinds[i]->category);
    if (n < size)
        snprintf(out + n, size - n, "}");
}

static void name_worker(struct worker *w)
{
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    snprintf(w->name, sizeof w->name, "%s:%d", host, (int)getpid());
    list_categories(w, false, w->categories, sizeof w->categories);
    list_categories(w, true, w->awaited, sizeof w->awaited);
}

static bool worker_init(struct worker *w, const struct worker_settings *s, struct err *err)
{
    memset(w, 0, sizeof *w);
    w->config_fd = w->signal_fd = -1;
    w->settings = s;
    w->databases.service = s->service;
    w->slots = (s->task_slots == 0 ? 1 : s->task_slots) + WORKER_AWAITED_SLOTS;
    if (s->service == NULL || s->service[0] == '\0')
        return err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "a worker needs the setting \"service\"");
    w->processes = calloc(w->slots, sizeof *w->processes);
    if (w->processes == NULL)
        return err_no_memory(err);
    name_worker(w);
    w->config_fd = process_config_open(s->config, err);
    return w->config_fd >= 0;
}

static void worker_fini(struct worker *w)
{
    databases_fini(&w->databases);
    free(w->processes);
    if (w->config_fd >= 0)
        close(w->config_fd);
    if (w->signal_fd >= 0)
        close(w->signal_fd);
}

bool worker_run(const struct worker_settings *settings, struct err *err)
{
    struct worker w;
    sigset_t before;
    sigprocmask(SIG_SETMASK, NULL, &before);
    bool ok = worker_init(&w, settings, err) && catch_signals(&w, &before, err);
    if (ok) {
        log_info("worker", "%s runs up to %zu jobs", w.name, w.slots - WORKER_AWAITED_SLOTS);
        while (w.drain_ms == 0)
            turn(&w);
        drain(&w);
        log_info("worker", "%s has stopped", w.name);
    }
    worker_fini(&w);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return ok;
}
