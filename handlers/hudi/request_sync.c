/* hudi_sync and hudi_sync_custom: one run of a synchronisation, by hand. It is the run of a task
 * (job.c), with the parameters where a task has them. */
#include "base/json.h"
#include "request.h"
#include "sync.h"

static void put_answer(struct buf *answer, struct sync *s)
{
    const char *notes = buf_cstr(&s->log);
    const char *commit = s->plan.to == NULL ? s->position.commit : s->plan.to;
    buf_printf(answer, "{\"rows\":%lld,\"full\":%s,\"commit\":", (long long)s->rows,
               s->plan.kind == HUDI_PLAN_FULL ? "true" : "false");
    json_write_string(answer, slice_cstr(commit == NULL ? "" : commit));
    buf_append_cstr(answer, ",\"notes\":");
    json_write_string(answer, slice_cstr(notes == NULL ? "" : notes));
    buf_append_cstr(answer, "}");
}

bool request_sync(struct job *job, struct arena *a, struct buf *answer, struct err *err)
{
    struct sync s;
    (void)a;
    sync_init(&s, job);
    bool ok = sync_run(&s, err);
    if (ok)
        put_answer(answer, &s);
    sync_close(&s);
    return ok;
}
