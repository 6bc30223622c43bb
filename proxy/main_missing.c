/* Parts of the tree that have not landed yet: each says so. The build defines MISSING_<symbol> for
 * what it does not find; this file goes when nothing is missing. */
#include "main.h"

#include "hudi/handler.h"
#include "hudi/job.h"
#include "proxy/server.h"
#include "task/handler.h"
#include "task/job_main.h"
#include "task/worker.h"

#ifdef MISSING_proxy_run
void proxy_config_init(struct proxy_config *c)
{
    *c = (struct proxy_config){0};
}
bool proxy_run(const struct proxy_config *c, struct err *err)
{
    (void)c;
    return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED, "the proxy is not built in yet");
}
#endif
#ifdef MISSING_worker_run
bool worker_run(const struct worker_settings *settings, struct err *err)
{
    (void)settings;
    return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED, "the worker is not built in yet");
}
#endif
#ifdef MISSING_job_main
int job_main(const struct job_settings *settings, const struct task_kind *const *kinds,
             size_t kind_count, const struct job_call *call)
{
    (void)settings, (void)kinds, (void)kind_count, (void)call;
    return JOB_EXIT_USAGE;
}
#endif
#ifdef MISSING_task_handler
const struct handler task_handler = {.name = "task"};
#endif
#ifdef MISSING_hudi_handler
const struct handler hudi_handler = {.name = "hudi"};
#endif
#ifdef MISSING_hudi_task_kind
static enum job_outcome run(struct job *j, struct job_result *result, struct err *err)
{
    (void)j, (void)result;
    err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED, "the synchronisation is not built in yet");
    return JOB_MISCONFIGURED;
}
const struct task_kind hudi_task_kind = {.category = "SQLonHudi", .run = run};
#endif
