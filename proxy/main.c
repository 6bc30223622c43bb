/* pgveneer: sub-commands and their options, and the list of what is linked.
 *
 *   run ─┬─ proxy        main_run.c supervises; main_role.c turns the configuration into what the
 *        ├─ worker ─ job proxy, the worker and a job want to know
 *        └─ postgres     with --embedded (main_embedded.c)
 *   check, install, uninstall: main_check.c      probe: main_probe.c
 *
 * The files main*.c link everything and are linked by nobody. They are the only place that knows
 * which features exist: the list of handlers (for the proxy), of task kinds (for jobs), and of
 * migrations stand in main_role.c. */
#include "main.h"

#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

struct command {
    const char *name;
    int (*run)(struct config *c, const struct main_options *o);
    bool needs_dbname;
};

static const struct command commands[] = {
    {"run", main_run, false}, {"proxy", main_proxy, false},    {"worker", main_worker, false},
    {"check", NULL, false},   {"install", main_install, true}, {"uninstall", main_uninstall, true},
    {"job", main_job, true},
};

static void print_usage(FILE *out)
{
    fputs("pgveneer: a thin layer over PostgreSQL that knows statements of other data warehouses\n"
          "\n"
          "  pgveneer run [--embedded DIR]     proxy and worker, supervised, in the foreground;\n"
          "                                    --embedded: with a private PostgreSQL in DIR\n"
          "  pgveneer proxy                    the proxy alone\n"
          "  pgveneer worker                   a worker alone (any number, on any machine)\n"
          "  pgveneer check                    what is wrong with the configuration, if anything\n"
          "  pgveneer install --dbname NAME    creates or upgrades the support schema\n"
          "  pgveneer uninstall --dbname NAME  removes it, with all tasks and their history\n"
          "  pgveneer probe --help             is what passes the same as without the proxy?\n"
          "\n"
          "  -c FILE            settings, in the style of postgresql.conf (docs/settings.md)\n"
          "  --set KEY=VALUE    one setting; wins over the file; as often as needed\n"
          "  --version, --help\n",
          out);
}

enum { OPT_SET = 256, OPT_EMBEDDED, OPT_DBNAME, OPT_TASK, OPT_FENCING };

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"set", required_argument, NULL, OPT_SET},
    {"embedded", required_argument, NULL, OPT_EMBEDDED},
    {"dbname", required_argument, NULL, OPT_DBNAME},
    {"task-id", required_argument, NULL, OPT_TASK},
    {"fencing", required_argument, NULL, OPT_FENCING},
    {NULL, 0, NULL, 0},
};

/* A reload happens in another folder. A file that is not there is told later, under its own name. */
static const char *absolute_path(const char *path)
{
    static char absolute[PATH_MAX];
    return realpath(path, absolute) != NULL ? absolute : path;
}

/* Reads the options behind the sub-command; false after a message. */
static bool read_options(int argc, char **argv, struct main_options *o)
{
    int opt;
    *o = (struct main_options){0};
    while ((opt = getopt_long(argc, argv, "c:", long_options, NULL)) != -1) {
        switch (opt) {
        case 'c': o->config_file = absolute_path(optarg); break;
        case OPT_EMBEDDED: o->embedded = optarg; break;
        case OPT_DBNAME: o->dbname = optarg; break;
        case OPT_TASK: o->task_id = optarg; break;
        case OPT_FENCING: o->fencing = strtoll(optarg, NULL, 10); break;
        case OPT_SET:
            if (o->set_count == MAIN_MAX_SETS) {
                fprintf(stderr, "pgveneer: more than %d --set\n", MAIN_MAX_SETS);
                return false;
            }
            o->sets[o->set_count++] = optarg;
            break;
        default: return false;
        }
    }
    if (optind < argc)
        fprintf(stderr, "pgveneer: unexpected argument \"%s\"\n", argv[optind]);
    return optind == argc;
}

bool main_load_config(const struct main_options *o, struct config *c, struct config_errors *errors,
                      struct err *err)
{
    if (!config_init(c, err))
        return false;
    if (o->config_file != NULL)
        config_read_file(c, o->config_file, errors);
    for (size_t i = 0; i < o->set_count; i++)
        config_read_assignment(c, o->sets[i], errors);
    config_check(c, errors);
    return true;
}

void main_apply_log(const struct config *c)
{
    enum log_level level = LOG_LEVEL_INFO;
    if (log_level_find(c->log_level, &level))
        log_setup(level, strcmp(c->log_format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
}

static int run_command(const struct command *command, const struct main_options *o)
{
    static struct config_errors errors; /* too large for a stack */
    struct config config;
    struct err err;
    if (!main_load_config(o, &config, &errors, &err)) {
        log_err(LOG_LEVEL_ERROR, "pgveneer", "cannot load the configuration", &err);
        return MAIN_FAILED;
    }
    main_apply_log(&config);
    int rc = MAIN_FAILED;
    if (command->run == NULL) {
        rc = main_check(&config, &errors);
    } else if (errors.count > 0) {
        for (size_t i = 0; i < errors.count; i++)
            log_err(LOG_LEVEL_ERROR, "pgveneer", "configuration", &errors.items[i]);
    } else {
        rc = command->run(&config, o);
    }
    config_fini(&config);
    return rc;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

/* Options that stand alone. True when one was there. */
static bool answer_question(const char *word)
{
    if (strcmp(word, "--version") == 0)
        puts("pgveneer " PGVENEER_VERSION);
    else if (strcmp(word, "--help") == 0)
        print_usage(stdout);
    else if (strcmp(word, "--print-settings") == 0)
        config_print_docs(stdout);
    else
        return false;
    return true;
}

/* libpq would fill what a connection string leaves out from PGPORT, PGUSER and their like; the
 * proxy's own connections would not. Who started us must not matter, so none of them is left. */
static void forget_libpq_variables(void)
{
    extern char **environ;
    for (char **entry = environ; *entry != NULL;) {
        char name[64];
        size_t n = strcspn(*entry, "=");
        if (strncmp(*entry, "PG", 2) != 0 || strncmp(*entry, "PGVENEER_", 9) == 0 ||
            n >= sizeof name) {
            entry++;
            continue;
        }
        memcpy(name, *entry, n);
        name[n] = '\0';
        unsetenv(name); /* moves the next one here */
    }
}

int main(int argc, char **argv)
{
    struct main_options options;
    if (argc == 2 && answer_question(argv[1]))
        return MAIN_OK;
    if (argc > 1 && strcmp(argv[1], "probe") == 0)
        return main_probe(argc - 1, argv + 1);
    const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;
    if (command == NULL) {
        print_usage(stderr);
        return MAIN_USAGE;
    }
    if (!read_options(argc - 1, argv + 1, &options))
        return MAIN_USAGE;
    if (command->needs_dbname && options.dbname == NULL) {
        fprintf(stderr, "pgveneer %s needs --dbname\n", command->name);
        return MAIN_USAGE;
    }
    forget_libpq_variables();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN); /* the proxy and its supervisor wait for it */
    return run_command(command, &options);
}
