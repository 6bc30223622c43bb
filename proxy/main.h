/* What the files of main share: the command line, and one function for each sub-command. */
#ifndef MAIN_H
#define MAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/migration.h"
#include "protocol/sealed.h"
#include "proxy/tls_settings.h"
#include "config.h"

#define MAIN_MAX_SETS 64

/* Exit codes. */
#define MAIN_OK 0
#define MAIN_FAILED 1
#define MAIN_USAGE 2
#define MAIN_CANNOT_START 3 /* of a supervised process: trying again at once is of no use */

struct main_options {
    const char *config_file;         /* -c */
    const char *sets[MAIN_MAX_SETS]; /* --set */
    size_t set_count;
    const char *embedded; /* --embedded: folder of a private PostgreSQL */
    const char *dbname;   /* --dbname */
    const char *task_id;  /* job */
    int64_t fencing;      /* job */
};

/* Sub-commands. Each gets a configuration that was read and checked, and returns an exit code. */
int main_run(struct config *c, const struct main_options *o);
int main_proxy(struct config *c, const struct main_options *o);
int main_worker(struct config *c, const struct main_options *o);
int main_job(struct config *c, const struct main_options *o);
int main_install(struct config *c, const struct main_options *o);
int main_uninstall(struct config *c, const struct main_options *o);
/* Gets a configuration that may be wrong, and what is wrong with it. */
int main_check(struct config *c, const struct config_errors *errors);
/* Knows no settings; argv[0] is the sub-command. */
int main_probe(int argc, char **argv);

/* main_role.c: the features' migrations in their order, and behind them one that brings settings
 * which SQL must know into the database. Points into itself: not to be copied. */
#define MAIN_MIGRATION_LISTS 5
struct main_migrations {
    struct migration_list lists[MAIN_MIGRATION_LISTS];
    struct migration settings;
    char name[64];
    char sql[1024];
};
void main_list_migrations(const struct config *c, struct main_migrations *out);

/* main_role.c: the proxy and the worker as this process; return an exit code when they end. */
int main_serve_proxy(struct config *c, const struct main_options *o);
int main_serve_worker(const struct config *c);
/* The settings of both legs. */
void main_read_tls(const struct config *c, struct tls_settings *client,
                   struct tls_settings *server);

/* main.c: reads file and --set; *errors holds what is wrong with them. False: no memory. */
MUST_USE bool main_load_config(const struct main_options *o, struct config *c,
                               struct config_errors *errors, struct err *err);
void main_apply_log(const struct config *c);

/* main_reload.c: SIGHUP. who: for the log; NULL: silently. */
void main_reload(struct config *running, const struct main_options *o, const char *who);

/* main_user.c: started as root, this process becomes the user of the setting `user`, for good; else
 * nothing happens. */
MUST_USE bool main_drop_rights(const struct config *c, struct err *err);
/* Whose rights the processes will have: the user of the setting when started as root, else ours. */
struct main_user {
    uid_t uid;
    gid_t gid;
    char name[64];
    char home[256];
};
MUST_USE bool main_find_user(const struct config *c, struct main_user *out, struct err *err);
/* Writes the process id and keeps the file locked until the process ends. Errors: 55000 another
 * process that runs has it. */
MUST_USE bool main_write_pidfile(const struct config *c, struct err *err);
void main_remove_pidfile(const struct config *c);

/* main_key.c: the key of secret_key_file; *out is `key`, or NULL where the setting is empty.
 * Errors: F0000 no key in it, or others can read it; 58P01, 42501 */
MUST_USE bool main_read_secret_key(const struct config *c, struct sealed_key *key,
                                   const struct sealed_key **out, struct err *err);

/* main_embedded.c: a private PostgreSQL server. */
struct embedded {
    char folder[1024]; /* absolute; holds data/, socket/, password, postgresql.log */
    char socket_dir[108];
    char bin_dir[256]; /* of initdb and postgres */
    char password[64]; /* of its superuser */
    int lock_fd;
};
/* As root, before rights are dropped: makes the folder and gives it to the user, or takes another one
 * when that user cannot reach it. */
MUST_USE bool embedded_prepare(struct embedded *e, const char *folder, const struct main_user *user,
                               struct err *err);
/* With the user's rights: initdb when there is no server yet, and whatever an earlier run left is
 * brought to an end. */
MUST_USE bool embedded_init(struct embedded *e, struct err *err);
/* Points the settings backend and service at it. */
MUST_USE bool embedded_configure(const struct embedded *e, struct config *c, struct err *err);
/* Removes the folder of its socket, where that is one in /tmp. The server has ended. */
void embedded_fini(const struct embedded *e);
/* Becomes the server; returns only when it cannot be executed. Called in a process of its own. */
void embedded_exec(const struct embedded *e);
/* Waits until the server answers; false with *err when `alive` says that it died, or in vain. */
MUST_USE bool embedded_wait(const struct embedded *e, bool (*alive)(void *arg), void *arg,
                            struct err *err);

#endif
