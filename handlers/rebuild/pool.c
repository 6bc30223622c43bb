/* The pool of a rebuild. The pieces of work are in the hands of the caller (slices.c, indexes.c): here are the
 * threads, and how they end.
 *
 *   caller      its own work ───────────────┬── waits for the others ── first error
 *   member 1    opens its connection ── work ┤   a connection stays open for the next pool_run
 *   member 2    …                            ┘
 *
 * Nothing that a member leaves half done stays: each piece of work is a transaction that commits only while
 * the task is ours (job_commit_step). A statement that was about to be sent when somebody failed is not
 * reached by a cancel; so whoever fails cancels the others again and again until they have ended. Members
 * are cancelled only while they are `busy`, so none of it hits what is run afterwards. */
#include "pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"

#define CANCEL_EVERY_MS 50

struct member {
    struct pool *pool;
    struct rebuild *r;   /* the caller's, or: */
    struct rebuild mine; /* of all but the first, as the next */
    struct job job;
    pthread_t thread;
    bool busy;
};

struct pool {
    struct rebuild *r;
    pool_work *work;
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t news; /* a member has ended */
    size_t busy;
    bool failed;
    struct err err;                            /* the first one */
    struct member members[1 + JOB_MAX_BESIDE]; /* the first is the caller */
};

struct pool *pool_new(struct rebuild *r)
{
    struct pool *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->r = r;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->news, NULL);
    return p;
}

void pool_free(struct pool *p)
{
    if (p == NULL)
        return;
    for (size_t i = 1; i < ARRAY_LEN(p->members); i++)
        job_close_beside(&p->members[i].job);
    pthread_cond_destroy(&p->news);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

bool pool_is_ending(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    bool failed = p->failed;
    pthread_mutex_unlock(&p->lock);
    return failed;
}

/* Under the lock. */
static void cancel_others(struct pool *p)
{
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(p->members); i++) {
        struct member *m = &p->members[i];
        if (m->busy && pgclient_is_alive(m->r->job->db) && !pgclient_cancel(m->r->job->db, &err))
            log_err(LOG_LEVEL_WARNING, p->r->job->task_id, "cancel failed", &err);
    }
}

static void wait_for_news(struct pool *p)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += CANCEL_EVERY_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&p->news, &p->lock, &until);
}

static void end_work(struct member *m, bool ok, const struct err *err)
{
    struct pool *p = m->pool;
    if (!ok)
        job_rollback(m->r->job);
    pthread_mutex_lock(&p->lock);
    m->busy = false;
    p->busy--;
    if (!ok && !p->failed) {
        p->failed = true;
        p->err = *err;
    }
    pthread_cond_broadcast(&p->news);
    while (!ok && p->busy > 0) {
        cancel_others(p);
        wait_for_news(p);
    }
    pthread_mutex_unlock(&p->lock);
}

static void work(struct member *m)
{
    struct err err;
    bool ok = pool_is_ending(m->pool) || m->pool->work(m->r, m->pool, m->pool->arg, &err);
    end_work(m, ok, &err);
}

static bool open_member(struct member *m, struct err *err)
{
    const struct job *main = m->pool->r->job;
    if (m->job.db != NULL && pgclient_is_alive(m->job.db))
        return true;
    job_close_beside(&m->job);
    return job_open_beside(main, &m->job, err);
}

static void *run(void *arg)
{
    struct member *m = arg;
    struct pool *p = m->pool;
    struct err err;
    if (!open_member(m, &err)) {
        log_err(LOG_LEVEL_WARNING, p->r->job->task_id, "works with one connection less", &err);
        return NULL;
    }
    pthread_mutex_lock(&p->lock);
    m->busy = true;
    p->busy++;
    pthread_mutex_unlock(&p->lock);
    arena_init(&m->mine.a, 0);
    work(m);
    arena_fini(&m->mine.a);
    return NULL;
}

/* The number of members that have a thread now. */
static size_t start_members(struct pool *p, size_t workers)
{
    size_t n = 1;
    for (; n < workers && n < p->r->workers && n < ARRAY_LEN(p->members); n++) {
        struct member *m = &p->members[n];
        m->pool = p;
        m->mine = *p->r;
        m->mine.job = &m->job;
        m->r = &m->mine;
        if (pthread_create(&m->thread, NULL, run, m) != 0)
            break;
    }
    return n;
}

bool pool_run(struct pool *p, size_t workers, pool_work *w, void *arg, struct err *err)
{
    struct member *first = &p->members[0];
    p->work = w;
    p->arg = arg;
    p->failed = false;
    first->pool = p;
    first->r = p->r;
    first->busy = true;
    p->busy = 1;
    size_t started = start_members(p, workers);
    work(first);
    for (size_t i = 1; i < started; i++)
        pthread_join(p->members[i].thread, NULL);
    if (p->failed)
        *err = p->err;
    return !p->failed;
}
