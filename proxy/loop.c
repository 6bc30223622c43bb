/* A libevent base, the thread that runs it, its mailbox, deferred tasks and timers.
 *
 * The base is made without locks: only its own thread touches it once the thread runs. Other threads
 * reach it through the mailbox's eventfd. Deferred tasks hang on one event that is activated by hand:
 * libevent runs it after the callback that activated it has returned to the loop, which is what lets
 * a connection be freed by code that its own callback called. */
/* libevent comes first: its header has a macro LIST_ENTRY of its own, which it takes back. */
#include <event2/event.h>
#include <event2/event_struct.h>

#include "loop.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"

struct loop {
    struct event_base *base;
    struct event mail_event;
    struct event deferred_event;
    struct mailbox mailbox;
    struct list deferred; /* of struct loop_task */
    struct list at_end;   /* of struct loop_task */
    struct mail stop_mail;
    atomic_bool stopping;
    bool has_thread;
    pthread_t thread;
    char name[16];
    char *read_buffer; /* LOOP_READ_HEADROOM + LOOP_READ_BYTES */
    char *wire_buffer;
    char *gather_buffer;
};

static void on_mail(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop *l = arg;
    mailbox_receive_all(&l->mailbox);
}

static void run_all(struct list *tasks)
{
    struct list *link;
    while ((link = list_first(tasks)) != NULL) {
        list_remove(link);
        struct loop_task *t = LIST_ENTRY(link, struct loop_task, link);
        t->run(t);
    }
}

static void on_deferred(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop *l = arg;
    run_all(&l->deferred);
}

static void on_stop(struct mail *m)
{
    event_base_loopbreak(MAIL_ENTRY(m, struct loop, stop_mail)->base);
}

static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    if (config == NULL)
        return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static bool loop_init(struct loop *l, struct err *err)
{
    list_init(&l->deferred);
    list_init(&l->at_end);
    l->stop_mail.on_receive = on_stop;
    l->read_buffer = malloc(LOOP_READ_HEADROOM + LOOP_READ_BYTES);
    l->wire_buffer = malloc(LOOP_WIRE_BYTES);
    l->gather_buffer = malloc(LOOP_GATHER_BYTES);
    l->base = new_base();
    if (l->base == NULL || l->read_buffer == NULL || l->wire_buffer == NULL ||
        l->gather_buffer == NULL)
        return err_no_memory(err);
    event_assign(&l->mail_event, l->base, l->mailbox.wake_fd, EV_READ | EV_PERSIST, on_mail, l);
    event_assign(&l->deferred_event, l->base, -1, 0, on_deferred, l);
    if (event_add(&l->mail_event, NULL) != 0)
        return err_no_memory(err);
    return true;
}

bool loop_new(const char *name, struct loop **out, struct err *err)
{
    struct loop *l = calloc(1, sizeof *l);
    if (l == NULL)
        return err_no_memory(err);
    snprintf(l->name, sizeof l->name, "%s", name);
    if (!mailbox_init(&l->mailbox, err)) {
        free(l);
        return false;
    }
    if (!loop_init(l, err)) {
        loop_free(l);
        return false;
    }
    *out = l;
    return true;
}

void loop_free(struct loop *l)
{
    if (l == NULL)
        return;
    if (l->base != NULL) {
        run_all(&l->at_end);
        run_all(&l->deferred); /* what was freed just now and in the loop's last callback */
        event_del(&l->mail_event);
        event_del(&l->deferred_event);
        event_base_free(l->base);
    }
    mailbox_fini(&l->mailbox);
    free(l->read_buffer);
    free(l->wire_buffer);
    free(l->gather_buffer);
    free(l);
}

void loop_run(struct loop *l)
{
    event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

static void *run_thread(void *arg)
{
    struct loop *l = arg;
    pthread_setname_np(pthread_self(), l->name);
    loop_run(l);
    return NULL;
}

bool loop_start(struct loop *l, struct err *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&l->thread, NULL, run_thread, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0)
        return err_set_errno(err, failed, "could not start thread \"%s\"", l->name);
    l->has_thread = true;
    return true;
}

void loop_stop(struct loop *l)
{
    if (!atomic_exchange(&l->stopping, true))
        mailbox_post(&l->mailbox, &l->stop_mail);
}

void loop_join(struct loop *l)
{
    if (l->has_thread)
        pthread_join(l->thread, NULL);
    l->has_thread = false;
}

const char *loop_name(const struct loop *l)
{
    return l->name;
}

void loop_post(struct loop *l, struct mail *m)
{
    mailbox_post(&l->mailbox, m);
}

struct event_base *loop_base(struct loop *l)
{
    return l->base;
}

char *loop_read_buffer(struct loop *l)
{
    return l->read_buffer + LOOP_READ_HEADROOM;
}

char *loop_wire_buffer(struct loop *l)
{
    return l->wire_buffer;
}

char *loop_gather_buffer(struct loop *l)
{
    return l->gather_buffer;
}

void loop_task_init(struct loop_task *t, void (*run)(struct loop_task *t))
{
    list_init(&t->link);
    t->run = run;
}

void loop_defer(struct loop *l, struct loop_task *t)
{
    if (!list_is_empty(&t->link))
        return;
    if (list_is_empty(&l->deferred))
        event_active(&l->deferred_event, 0, 0);
    list_append(&l->deferred, &t->link);
}

void loop_at_end(struct loop *l, struct loop_task *t)
{
    list_append(&l->at_end, &t->link);
}

struct timer {
    struct event event;
    void (*fire)(void *arg);
    void *arg;
};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct timer *t = arg;
    t->fire(t->arg);
}

struct timer *timer_new(struct loop *l, void (*fire)(void *arg), void *arg)
{
    struct timer *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->fire = fire;
    t->arg = arg;
    event_assign(&t->event, l->base, -1, 0, on_timer, t);
    return t;
}

void timer_free(struct timer *t)
{
    if (t == NULL)
        return;
    event_del(&t->event);
    free(t);
}

void timer_start(struct timer *t, uint64_t timeout_ms)
{
    struct timeval tv = {(time_t)(timeout_ms / 1000), (suseconds_t)(timeout_ms % 1000) * 1000};
    if (event_add(&t->event, &tv) != 0)
        log_error("loop", "a timer could not be started: out of memory");
}

void timer_stop(struct timer *t)
{
    event_del(&t->event);
}

uint64_t loop_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
