/* A run of a HudiRequest task: somebody's function waits for its answer (003_asking.sql).
 *
 *   start_requests ──► the work of the kind ──► answer_requests: answer or error, one transaction
 *
 * An error of the work is an answer too: the run has done what it was for. It fails only when the
 * database cannot be told, and is then run again on another connection. That nobody waits any more
 * the lease notices, as it does a pause. */
#include "request.h"

#include <poll.h>
#include <string.h>

#include "base/json.h"
#include "hudi/job.h"

#define REQUEST_ANSWER_BYTES ((size_t)64 << 20)
#define REQUEST_ATTEMPTS 3
#define REQUEST_PAUSE_MS 200

static const struct {
    const char *kind;
    request_fn *work;
} kinds[] = {
    {"options", request_options},
    {"commit", request_commit},
    {"sync", request_sync},
    {"scan", request_scan},
    {"sweep", request_sweep},
};

static request_fn *find_kind(const struct job *j)
{
    const char *kind = json_as_text(json_find(j->params, "kind"));
    for (size_t i = 0; kind != NULL && i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].kind, kind) == 0)
            return kinds[i].work;
    return NULL;
}

bool request_source(struct job *job, struct arena *a, const char **oid, struct err *err)
{
    int64_t number = json_as_int(json_find(job->params, "ftable_oid"), 0);
    *oid = arena_printf(a, "%lld", (long long)number);
    return *oid != NULL || err_no_memory(err);
}

/* Again after a transient error, such as a file that a cleaner took. */
static bool work(struct job *j, struct arena *a, struct buf *answer, struct err *err)
{
    request_fn *fn = find_kind(j);
    if (fn == NULL)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED, "this kind of request is not known");
    for (unsigned attempt = 1;; attempt++) {
        buf_clear(answer);
        if (fn(j, a, answer, err))
            return true;
        job_rollback(j);
        if (attempt == REQUEST_ATTEMPTS || !err_is_transient(err) || job_must_stop(j) ||
            !pgclient_is_alive(j->db))
            return false;
        poll(NULL, 0, REQUEST_PAUSE_MS * (int)attempt);
    }
}

static void put_field(struct buf *b, const char *name, const char *text)
{
    buf_printf(b, "%s\"%s\":", buf_length(b) == 0 ? "{" : ",", name);
    json_write_string(b, slice_cstr(text));
}

static void put_error(struct buf *b, const struct err *err)
{
    buf_clear(b);
    put_field(b, "sqlstate", err->sqlstate);
    put_field(b, "message", err->message);
    put_field(b, "detail", err->detail);
    put_field(b, "hint", err->hint);
    buf_append_cstr(b, "}");
}

static bool tell(struct job *j, const char *answer, const char *error, struct err *err)
{
    const char *values[] = {j->task_id, answer, error};
    return job_begin(j, err) &&
           pgclient_query(j->db, "SELECT pgveneer.answer_requests($1, $2::jsonb, $3::jsonb)", 3,
                          values, NULL, err) &&
           job_commit_step(j, err);
}

static bool start(struct job *j, struct err *err)
{
    const char *values[] = {j->task_id};
    return pgclient_query(j->db, "SELECT pgveneer.start_requests($1)", 1, values, NULL, err);
}

static enum job_outcome run(struct job *j, struct job_result *result, struct err *err)
{
    struct arena a;
    struct buf answer;
    (void)result;
    arena_init(&a, 0);
    buf_init(&answer, REQUEST_ANSWER_BYTES);
    bool ok = start(j, err);
    if (ok) {
        bool done = work(j, &a, &answer, err);
        if (!done)
            put_error(&answer, err);
        const char *text = buf_cstr(&answer);
        ok = !job_must_stop(j) && pgclient_is_alive(j->db) &&
             (text == NULL ? err_no_memory(err)
                           : tell(j, done ? text : NULL, done ? NULL : text, err));
    }
    buf_fini(&answer);
    arena_fini(&a);
    return ok ? JOB_DONE : JOB_FAILED;
}

const struct task_kind hudi_request_kind = {
    .category = "HudiRequest", .run = run, .is_awaited = true};
