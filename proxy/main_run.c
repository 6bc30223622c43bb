/* `pgveneer run`: starts the proxy, the worker and, with --embedded, a PostgreSQL server, and starts
 * again what dies.
 *
 *   STARTING ── all are up ──> SERVING ── SIGTERM, SIGINT ──> STOPPING ──> gone
 *       └── one cannot start ───────────────────────────────────^
 *
 * The supervisor has no thread, opens no connection and reads nothing from outside; it waits for
 * signals. Children are forked without exec (they find the configuration in memory, so that no
 * password stands on a command line), each in a process group of its own: Ctrl-C reaches the
 * supervisor alone, which tells the others in order. Should the supervisor be killed, the kernel
 * tells them (PR_SET_PDEATHSIG).
 *
 * Stopping: SIGTERM to proxy and worker, which drain for 30 s at most; a second SIGTERM of ours goes
 * on to them, and means at once. The server goes last, since the draining clients need it. SIGHUP goes
 * to the proxy (main_reload.c). */
#include "main.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_CAP_MS 30000
#define LONG_LIFE_MS 60000       /* who lived so long starts again without a wait */
#define STOP_DEADLINE_MS 35000   /* a drain of 30 s and a little */
#define SERVER_DEADLINE_MS 60000 /* a fast shutdown writes a checkpoint */

enum { CHILD_SERVER, CHILD_PROXY, CHILD_WORKER, CHILD_COUNT };

struct child {
    const char *name;
    const char *title; /* of the process, 15 bytes */
    int stop_signal;
    bool wanted; /* this run has it */
    pid_t pid;   /* 0: does not run */
    int64_t started_ms;
    int64_t start_at_ms; /* when to start it again */
    int64_t backoff_ms;
};

struct supervisor {
    struct config *config;
    const struct main_options *options;
    const struct embedded *embedded; /* NULL: none */
    struct child children[CHILD_COUNT];
    sigset_t signals;
    bool stopping, failed;
    int64_t kill_at_ms; /* while stopping: when SIGKILL is due; 0: not yet set */
};

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- children ----------------------------------------------------------- */

/* In the child: what the supervisor set up for itself goes. */
static void become_child(const struct supervisor *s, const struct child *child, pid_t parent)
{
    setpgid(0, 0);
    prctl(PR_SET_NAME, child->title); /* ps -o comm */
    prctl(PR_SET_PDEATHSIG, child->stop_signal);
    if (getppid() != parent)
        _exit(MAIN_FAILED);
    sigprocmask(SIG_UNBLOCK, &s->signals, NULL);
}

NORETURN static void run_child(struct supervisor *s, int which, pid_t parent)
{
    become_child(s, &s->children[which], parent);
    int rc = MAIN_CANNOT_START;
    switch (which) {
    case CHILD_SERVER: embedded_exec(s->embedded); break;
    case CHILD_PROXY: rc = main_serve_proxy(s->config, s->options); break;
    case CHILD_WORKER: rc = main_serve_worker(s->config); break;
    default: break;
    }
    _exit(rc);
}

static void schedule(struct child *child, int64_t lived_ms)
{
    child->backoff_ms = lived_ms >= LONG_LIFE_MS                 ? 0
                        : child->backoff_ms == 0                 ? BACKOFF_FIRST_MS
                        : child->backoff_ms * 2 > BACKOFF_CAP_MS ? BACKOFF_CAP_MS
                                                                 : child->backoff_ms * 2;
    child->start_at_ms = now_ms() + child->backoff_ms;
}

static void start_child(struct supervisor *s, int which)
{
    struct child *child = &s->children[which];
    pid_t parent = getpid();
    pid_t pid = fork();
    child->started_ms = now_ms();
    if (pid == 0)
        run_child(s, which, parent);
    if (pid < 0) {
        log_error("supervisor", "cannot start the %s: fork: errno %d", child->name, errno);
        schedule(child, 0);
        return;
    }
    child->pid = pid;
    log_info("supervisor", "%s started (process %ld)", child->name, (long)pid);
}

static void on_child_end(struct supervisor *s, struct child *child, int status)
{
    int64_t lived_ms = now_ms() - child->started_ms;
    bool first_start = child->start_at_ms == 0;
    long pid = child->pid;
    child->pid = 0;
    if (s->stopping) {
        log_info("supervisor", "%s ended", child->name);
        return;
    }
    if (WIFSIGNALED(status))
        log_error("supervisor", "%s (process %ld) was ended by signal %d", child->name, pid,
                  WTERMSIG(status));
    else
        log_error("supervisor", "%s (process %ld) ended with exit code %d", child->name, pid,
                  WEXITSTATUS(status));
    if (first_start && WIFEXITED(status) && lived_ms < LONG_LIFE_MS) {
        log_error("supervisor", "the %s cannot start: giving up", child->name);
        s->failed = s->stopping = true;
        return;
    }
    schedule(child, lived_ms);
    log_info("supervisor", "%s starts again in %lld ms", child->name, (long long)child->backoff_ms);
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (int i = 0; i < CHILD_COUNT; i++)
            if (s->children[i].pid == pid)
                on_child_end(s, &s->children[i], status);
}

/* ---- the loop ----------------------------------------------------------- */

static bool is_alive(void *arg)
{
    struct supervisor *s = arg;
    reap(s);
    return s->children[CHILD_SERVER].pid != 0;
}

/* Starts what is due. */
static void start_due(struct supervisor *s)
{
    for (int i = 0; i < CHILD_COUNT; i++) {
        struct child *child = &s->children[i];
        if (child->wanted && child->pid == 0 && child->start_at_ms <= now_ms())
            start_child(s, i);
    }
}

static void signal_children(struct supervisor *s, int number)
{
    for (int i = CHILD_PROXY; i < CHILD_COUNT; i++)
        if (s->children[i].pid != 0)
            kill(s->children[i].pid, number);
}

/* One step towards the end; true when all are gone. */
static bool step_stop(struct supervisor *s)
{
    bool clients_gone = s->children[CHILD_PROXY].pid == 0 && s->children[CHILD_WORKER].pid == 0;
    struct child *server = &s->children[CHILD_SERVER];
    if (!clients_gone && s->kill_at_ms == 0) {
        s->kill_at_ms = now_ms() + STOP_DEADLINE_MS;
        signal_children(s, SIGTERM);
    } else if (!clients_gone && now_ms() > s->kill_at_ms) {
        signal_children(s, SIGKILL);
    } else if (clients_gone && server->pid != 0 && server->wanted) {
        server->wanted = false; /* told once */
        s->kill_at_ms = now_ms() + SERVER_DEADLINE_MS;
        kill(server->pid, SIGINT);
    } else if (clients_gone && server->pid != 0 && now_ms() > s->kill_at_ms) {
        s->kill_at_ms = now_ms() + SERVER_DEADLINE_MS;
        kill(server->pid, SIGQUIT);
    }
    return clients_gone && server->pid == 0;
}

static void on_signal(struct supervisor *s, int number)
{
    if (number == SIGCHLD)
        return;
    if (number == SIGHUP) {
        main_reload(s->config, s->options, NULL);
        if (s->children[CHILD_PROXY].pid != 0)
            kill(s->children[CHILD_PROXY].pid, SIGHUP);
        return;
    }
    if (s->stopping) {
        log_info("supervisor", "told to stop at once");
        signal_children(s, SIGTERM);
        return;
    }
    log_info("supervisor", "stopping: clients may finish for 30 seconds");
    s->stopping = true;
}

static int supervise(struct supervisor *s)
{
    for (;;) {
        struct timespec second = {.tv_sec = 0, .tv_nsec = 500000000};
        reap(s);
        if (s->stopping && step_stop(s))
            return s->failed ? MAIN_FAILED : MAIN_OK;
        if (!s->stopping)
            start_due(s);
        int number = sigtimedwait(&s->signals, NULL, &second);
        if (number > 0)
            on_signal(s, number);
    }
}

/* ---- setting up --------------------------------------------------------- */

static void init_supervisor(struct supervisor *s, struct config *c, const struct main_options *o)
{
    *s = (struct supervisor){
        .config = c,
        .options = o,
        .children = {[CHILD_SERVER] = {.name = "PostgreSQL server",
                                       .title = "pgv-server",
                                       .stop_signal = SIGINT},
                     [CHILD_PROXY] = {.name = "proxy",
                                      .title = "pgv-proxy",
                                      .stop_signal = SIGTERM,
                                      .wanted = true},
                     [CHILD_WORKER] = {.name = "worker",
                                       .title = "pgv-worker",
                                       .stop_signal = SIGTERM}},
    };
    sigemptyset(&s->signals);
    sigaddset(&s->signals, SIGTERM);
    sigaddset(&s->signals, SIGINT);
    sigaddset(&s->signals, SIGHUP);
    sigaddset(&s->signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &s->signals, NULL);
}

/* The private server comes up before the others are started. */
static bool start_server(struct supervisor *s, const struct embedded *e, struct config *c,
                         struct err *err)
{
    s->embedded = e;
    s->children[CHILD_SERVER].wanted = true;
    start_child(s, CHILD_SERVER);
    return embedded_wait(e, is_alive, s, err) && embedded_configure(e, c, err);
}

static bool prepare(struct config *c, const struct main_options *o, struct embedded *e,
                    struct err *err)
{
    struct main_user user;
    if (!main_write_pidfile(c, err))
        return false;
    if (o->embedded != NULL && (c->service[0] != '\0'))
        return err_set(err, SQLSTATE_CONFIG_FILE_ERROR,
                       "with --embedded the settings \"backend\" and \"service\" are pgveneer's");
    if (o->embedded != NULL &&
        (!main_find_user(c, &user, err) || !embedded_prepare(e, o->embedded, &user, err)))
        return false;
    return main_drop_rights(c, err) && (o->embedded == NULL || embedded_init(e, err));
}

int main_run(struct config *c, const struct main_options *o)
{
    static struct embedded embedded;
    struct supervisor s;
    struct err err;
    err_clear(&err);
    bool ok = prepare(c, o, &embedded, &err);
    init_supervisor(&s, c, o);
    if (ok && o->embedded != NULL)
        ok = start_server(&s, &embedded, c, &err);
    if (!ok) {
        log_err(LOG_LEVEL_ERROR, "supervisor", "cannot start", &err);
        s.failed = s.stopping = true;
    }
    s.children[CHILD_WORKER].wanted = c->service[0] != '\0';
    if (ok && !s.children[CHILD_WORKER].wanted)
        log_warning("supervisor", "no worker is started: the setting \"service\" is empty");
    int rc = supervise(&s);
    embedded_fini(&embedded);
    main_remove_pidfile(c);
    return rc;
}
