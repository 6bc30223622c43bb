/* The task engine with a task kind for tests, as a program like pgveneer itself:
 *     task_probe worker -c FILE        task_probe job -c FILE --dbname D --task-id T --fencing N
 *
 * A task of category "Probe" begins a transaction, runs params.sql (one statement), and does what its
 * first value says: NULL or '' commit; "kill", "segv", "exit" end the process so; "hang" never comes
 * back; "misconfigured" ends with that outcome; "log:TEXT" is the run's log; "file:PATH" wait until
 * the file is there, and ask nobody, then commit. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "task/job_main.h"
#include "task/worker.h"

struct settings {
    char service[512];
    char databases[512];
    unsigned task_slots;
    char text[4096]; /* of the file, for the jobs */
};

static void read_setting(struct settings *s, const char *line)
{
    char key[64];
    char value[512];
    if (sscanf(line, "%63[a-z_] = '%511[^']'", key, value) != 2)
        return;
    if (strcmp(key, "service") == 0)
        memcpy(s->service, value, sizeof value);
    else if (strcmp(key, "databases") == 0)
        memcpy(s->databases, value, sizeof value);
    else if (strcmp(key, "task_slots") == 0)
        s->task_slots = (unsigned)strtoul(value, NULL, 10);
}

static void read_settings(struct settings *s, const char *path)
{
    char line[1024];
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        log_error("probe", "cannot read %s", path);
        exit(JOB_EXIT_USAGE);
    }
    while (fgets(line, sizeof line, f) != NULL) {
        read_setting(s, line);
        strncat(s->text, line, sizeof s->text - strlen(s->text) - 1);
    }
    fclose(f);
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static void obey(const char *order)
{
    if (strcmp(order, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(order, "segv") == 0) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
    if (strcmp(order, "exit") == 0)
        _exit(17);
    while (strcmp(order, "hang") == 0)
        pause();
    if (starts_with(order, "file:"))
        while (access(order + 5, F_OK) != 0)
            usleep(10000);
}

static enum job_outcome probe_run(struct job *j, struct job_result *result, struct err *err)
{
    struct pgresult *r;
    char order[512] = "";
    job_phase(j, "read");
    if (!job_begin(j, err) ||
        !pgclient_query(j->db, json_as_text(json_find(j->params, "sql")), 0, NULL, &r, err)) {
        job_rollback(j);
        return JOB_FAILED;
    }
    if (pgresult_value(r, 0, 0) != NULL)
        snprintf(order, sizeof order, "%s", pgresult_value(r, 0, 0));
    pgresult_free(r);
    obey(order);
    if (strcmp(order, "misconfigured") == 0) {
        job_rollback(j);
        err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE, "only a person can mend this");
        err_hint(err, "Mend it.");
        return JOB_MISCONFIGURED;
    }
    if (starts_with(order, "log:"))
        snprintf(result->log, sizeof result->log, "%s", order + 4);
    job_phase(j, "commit");
    return job_commit(j, 1, "{\"kind\": \"probe\"}", err) ? JOB_DONE : JOB_FAILED;
}

static void probe_describe(struct job *j, char *detail, size_t size)
{
    (void)j;
    snprintf(detail, size, "{\"kind\": \"probe\"}");
}

static const struct task_kind probe = {
    .category = "Probe", .run = probe_run, .describe_failure = probe_describe};
static const struct task_kind *const kinds[] = {&probe};

static int run_worker(const struct settings *s)
{
    const struct worker_settings w = {.service = s->service,
                                      .databases = s->databases,
                                      .task_slots = s->task_slots,
                                      .program = "/proc/self/exe",
                                      .config = s->text,
                                      .kinds = kinds,
                                      .kind_count = 1};
    struct err err;
    if (worker_run(&w, &err))
        return 0;
    log_err(LOG_LEVEL_ERROR, "probe", "worker", &err);
    return 1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"dbname", required_argument, NULL, 'd'},
                                            {"task-id", required_argument, NULL, 't'},
                                            {"fencing", required_argument, NULL, 'f'},
                                            {NULL, 0, NULL, 0}};
    struct settings s = {.task_slots = 4};
    struct job_call call = {0};
    log_setup(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
    for (int c = getopt_long(argc, argv, "c:", options, NULL); c != -1;
         c = getopt_long(argc, argv, "c:", options, NULL)) {
        if (c == 'c')
            read_settings(&s, optarg);
        else if (c == 'd')
            call.dbname = optarg;
        else if (c == 't')
            call.task_id = optarg;
        else if (c == 'f')
            call.fencing = strtoll(optarg, NULL, 10);
        else
            return JOB_EXIT_USAGE;
    }
    if (optind < argc && strcmp(argv[optind], "worker") == 0)
        return run_worker(&s);
    const struct job_settings settings = {.service = s.service};
    return job_main(&settings, kinds, 1, &call);
}
