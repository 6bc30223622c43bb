/* A private PostgreSQL server for `pgveneer run --embedded DIR`: to try pgveneer out, and for tests.
 *
 *   DIR/data            the cluster; made with scram-sha-256 for every connection
 *   DIR/password        of its superuser postgres, random, mode 0600
 *   DIR/socket          the only way in (no TCP), mode 0700: clients come through pgveneer
 *   DIR/postgresql.log  what the server says
 *   DIR/lock            locked by the supervisor that uses DIR
 *
 * A cluster is made under another name and renamed when it is complete, so that one that was
 * interrupted is never taken for a whole one. A server that outlived its supervisor (which only
 * happens when the supervisor was killed) is shut down first; a stale postmaster.pid is PostgreSQL's
 * own business. The socket's path has room for 107 bytes: a longer one moves to a short folder in
 * /tmp. */
#include "main.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define FALLBACK_FOLDER "/var/lib/pgveneer"
#define SOCKET_NAME "/.s.PGSQL.5432"
#define START_DEADLINE_S 300 /* crash recovery may take its time */
#define STOP_DEADLINE_S 60

static void wait_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* DIR/name; the folder's length was checked when it was set. */
struct path {
    char text[1024 + 64];
};
static struct path in_folder(const struct embedded *e, const char *name)
{
    struct path p;
    snprintf(p.text, sizeof p.text, "%s/%s", e->folder, name);
    return p;
}

static bool exists(const struct embedded *e, const char *name)
{
    return access(in_folder(e, name).text, F_OK) == 0;
}

/* ---- the folder, as root ------------------------------------------------ */

static bool is_empty_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return false;
    bool empty = true;
    for (struct dirent *entry; empty && (entry = readdir(dir)) != NULL;)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(dir);
    return empty;
}

/* Makes e->folder, or takes one that is empty or was made by an earlier run: nobody's other files
 * are given to the server's user. */
static bool make_folder(struct embedded *e, const char *folder, const struct main_user *user,
                        struct err *err)
{
    bool made = mkdir(folder, 0700) == 0;
    if (!made && errno != EEXIST)
        return err_set_errno(err, errno, "cannot make the folder \"%s\"", folder);
    char *absolute = realpath(folder, NULL);
    if (absolute == NULL)
        return err_set_errno(err, errno, "cannot use the folder \"%s\"", folder);
    bool fits = strlen(absolute) < sizeof e->folder;
    snprintf(e->folder, sizeof e->folder, "%s", absolute);
    free(absolute);
    if (!fits)
        return err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE, "the folder's name is too long");
    if (!made && !exists(e, "lock") && !is_empty_folder(e->folder))
        return err_set(err, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                       "the folder \"%s\" is not empty and holds no server of pgveneer", e->folder);
    struct stat st;
    if (stat(e->folder, &st) != 0)
        return err_set_errno(err, errno, "cannot use the folder \"%s\"", e->folder);
    if (geteuid() == 0 && st.st_uid != user->uid && chown(e->folder, user->uid, user->gid) != 0)
        return err_set_errno(err, errno, "cannot give the folder \"%s\" to \"%s\"", e->folder,
                             user->name);
    return true;
}

/* Can that user work there? Asked of the kernel, by a process that has the user's rights. */
static bool is_usable(const char *folder, const struct main_user *user)
{
    if (geteuid() != 0)
        return access(folder, R_OK | W_OK | X_OK) == 0;
    pid_t pid = fork();
    if (pid == 0) {
        bool ok = setgid(user->gid) == 0 && setuid(user->uid) == 0 && chdir(folder) == 0 &&
                  access(folder, R_OK | W_OK | X_OK) == 0;
        _exit(ok ? 0 : 1);
    }
    int status = 1;
    if (pid > 0)
        waitpid(pid, &status, 0);
    return status == 0;
}

bool embedded_prepare(struct embedded *e, const char *folder, const struct main_user *user,
                      struct err *err)
{
    if (!make_folder(e, folder, user, err))
        return false;
    if (is_usable(e->folder, user))
        return true;
    if (geteuid() != 0)
        return err_set(err, SQLSTATE_INSUFFICIENT_PRIVILEGE, "no right to work in \"%s\"",
                       e->folder);
    log_warning("supervisor", "the user \"%s\" cannot reach \"%s\": using " FALLBACK_FOLDER,
                user->name, e->folder);
    return make_folder(e, FALLBACK_FOLDER, user, err);
}

/* ---- the cluster, with the user's rights -------------------------------- */

static bool lock_folder(struct embedded *e, struct err *err)
{
    struct path path = in_folder(e, "lock");
    e->lock_fd = open(path.text, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (e->lock_fd < 0)
        return err_set_errno(err, errno, "cannot open \"%s\"", path.text);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(e->lock_fd, F_SETLK, &lock) != 0)
        return err_set(err, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                       "another pgveneer works with the folder \"%s\"", e->folder);
    return true;
}

/* First line of a small file; false when there is none. */
static bool read_first_line(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    bool ok = fgets(out, (int)size, f) != NULL;
    fclose(f);
    if (ok)
        out[strcspn(out, "\n")] = '\0';
    return ok;
}

/* The programs of the version that made the cluster, else of the newest one installed as Debian
 * does. */
static bool find_programs(struct embedded *e, struct err *err)
{
    char version[16] = "";
    long best = 0;
    if (read_first_line(in_folder(e, "data/PG_VERSION").text, version, sizeof version))
        best = strtol(version, NULL, 10);
    DIR *dir = best > 0 ? NULL : opendir("/usr/lib/postgresql");
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        char program[300];
        snprintf(program, sizeof program, "/usr/lib/postgresql/%s/bin/initdb", entry->d_name);
        long n = strtol(entry->d_name, NULL, 10);
        if (n > best && access(program, X_OK) == 0)
            best = n;
    }
    if (dir != NULL)
        closedir(dir);
    snprintf(e->bin_dir, sizeof e->bin_dir, "/usr/lib/postgresql/%ld/bin", best);
    char program[300];
    snprintf(program, sizeof program, "%s/postgres", e->bin_dir);
    if (best > 0 && access(program, X_OK) == 0)
        return true;
    err_set(err, SQLSTATE_UNDEFINED_FILE, "no PostgreSQL server%s%s is installed",
            version[0] != '\0' ? " of version " : "", version);
    return err_hint(err, "On Debian: apt-get install postgresql");
}

static bool write_secret(const char *path, const char *text, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot write \"%s\"", path);
    size_t len = strlen(text);
    bool ok = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    int saved = errno;
    close(fd);
    return ok || err_set_errno(err, saved, "cannot write \"%s\"", path);
}

static bool make_password(struct embedded *e, struct err *err)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[24];
    char text[2 * sizeof bytes + 2];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return err_set_errno(err, errno, "no random bytes");
    for (size_t i = 0; i < sizeof bytes; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * sizeof bytes] = '\n';
    text[2 * sizeof bytes + 1] = '\0';
    return write_secret(in_folder(e, "password").text, text, err);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

/* Runs initdb, its output in a file. */
static int run_initdb(const struct embedded *e, const char *data, const char *log)
{
    char program[300], pwfile[1200];
    snprintf(program, sizeof program, "%s/initdb", e->bin_dir);
    snprintf(pwfile, sizeof pwfile, "--pwfile=%s", in_folder(e, "password").text);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd >= 0) {
            dup2(fd, STDOUT_FILENO);
            dup2(fd, STDERR_FILENO);
        }
        execl(program, "initdb", "-D", data, "-U", "postgres", pwfile, "--auth=scram-sha-256",
              "--encoding=UTF8", "--locale=C.UTF-8", (char *)NULL);
        _exit(127);
    }
    int status = -1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static bool make_cluster(struct embedded *e, struct err *err)
{
    struct path data = in_folder(e, "data.new"), log = in_folder(e, "initdb.log");
    nftw(data.text, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (!make_password(e, err))
        return false;
    log_info("supervisor", "making a private PostgreSQL in \"%s\"", e->folder);
    if (run_initdb(e, data.text, log.text) != 0) {
        err_set(err, SQLSTATE_IO_ERROR, "initdb failed");
        return err_detail(err, "Its words are in \"%s\".", log.text);
    }
    if (rename(data.text, in_folder(e, "data").text) != 0)
        return err_set_errno(err, errno, "cannot rename \"%s\"", data.text);
    unlink(log.text);
    return true;
}

static bool make_socket_dir(struct embedded *e, struct err *err)
{
    struct path path = in_folder(e, "socket");
    unsigned hash = 5381;
    for (const char *p = e->folder; *p != '\0'; p++)
        hash = hash * 33 + (unsigned char)*p;
    if (strlen(path.text) + strlen(SOCKET_NAME) >= sizeof e->socket_dir)
        snprintf(path.text, sizeof path.text, "/tmp/pgveneer-%lu-%08x", (unsigned long)geteuid(),
                 hash);
    struct stat st;
    if (mkdir(path.text, 0700) != 0 && errno != EEXIST)
        return err_set_errno(err, errno, "cannot make the folder \"%s\"", path.text);
    if (lstat(path.text, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 077) != 0)
        return err_set(err, SQLSTATE_INSUFFICIENT_PRIVILEGE, "\"%s\" is not a folder of ours alone",
                       path.text);
    memcpy(e->socket_dir, path.text, strlen(path.text) + 1);
    return true;
}

void embedded_fini(const struct embedded *e)
{
    struct path usual = in_folder(e, "socket");
    if (e->socket_dir[0] != '\0' && strcmp(e->socket_dir, usual.text) != 0)
        rmdir(e->socket_dir); /* the short one in /tmp: empty once the server has gone */
}

/* The process in postmaster.pid, if it runs and is the server of this cluster (a server's working
 * folder is its data folder; the number alone may be another process by now). */
static pid_t find_server(const struct embedded *e)
{
    char line[32], link[64], where[1100];
    struct path data = in_folder(e, "data");
    if (!read_first_line(in_folder(e, "data/postmaster.pid").text, line, sizeof line))
        return 0;
    long pid = strtol(line, NULL, 10);
    snprintf(link, sizeof link, "/proc/%ld/cwd", pid);
    ssize_t n = pid > 1 ? readlink(link, where, sizeof where - 1) : -1;
    if (n < 0)
        return 0;
    where[n] = '\0';
    return strcmp(where, data.text) == 0 ? (pid_t)pid : 0;
}

static bool stop_earlier_server(const struct embedded *e, struct err *err)
{
    pid_t pid = find_server(e);
    if (pid == 0)
        return true;
    log_info("supervisor", "a server of an earlier run (process %ld) is shut down first",
             (long)pid);
    kill(pid, SIGINT);
    for (int i = 0; i < STOP_DEADLINE_S * 10; i++) {
        if (find_server(e) != pid)
            return true;
        wait_ms(100);
    }
    return err_set(err, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                   "the server of an earlier run (process %ld) does not end", (long)pid);
}

bool embedded_init(struct embedded *e, struct err *err)
{
    if (!lock_folder(e, err) || !find_programs(e, err) || !make_socket_dir(e, err))
        return false;
    if (!exists(e, "data") && !make_cluster(e, err))
        return false;
    if (!read_first_line(in_folder(e, "password").text, e->password, sizeof e->password))
        return err_set_errno(err, errno, "cannot read \"%s\"", in_folder(e, "password").text);
    return stop_earlier_server(e, err);
}

bool embedded_configure(const struct embedded *e, struct config *c, struct err *err)
{
    c->backend = arena_copy_cstr(&c->arena, e->socket_dir);
    c->service =
        arena_printf(&c->arena, "host='%s' user=postgres password=%s", e->socket_dir, e->password);
    return (c->backend != NULL && c->service != NULL) || err_no_memory(err);
}

/* ---- the server --------------------------------------------------------- */

void embedded_exec(const struct embedded *e)
{
    char program[300];
    snprintf(program, sizeof program, "%s/postgres", e->bin_dir);
    struct path data = in_folder(e, "data"), log = in_folder(e, "postgresql.log");
    int out = open(log.text, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int in = open("/dev/null", O_RDONLY);
    if (out >= 0 && in >= 0) {
        dup2(in, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        close(in);
        close(out);
    }
    signal(SIGPIPE, SIG_DFL);
    execl(program, "postgres", "-D", data.text, "-k", e->socket_dir, "-c",
          "listen_addresses=", "-c", "port=5432", "-c", "unix_socket_permissions=0700", "-c",
          "max_connections=200", (char *)NULL);
    log_error("supervisor", "cannot execute \"%s\"", program);
}

/* Line 8 of postmaster.pid tells the state; pg_ctl waits for it too. */
static bool is_ready(const struct embedded *e)
{
    char line[1100];
    FILE *f = fopen(in_folder(e, "data/postmaster.pid").text, "re");
    if (f == NULL)
        return false;
    bool ready = false;
    for (int i = 1; i <= 8 && fgets(line, sizeof line, f) != NULL; i++)
        ready = i == 8 && strncmp(line, "ready", 5) == 0;
    fclose(f);
    return ready && find_server(e) != 0;
}

bool embedded_wait(const struct embedded *e, bool (*alive)(void *arg), void *arg, struct err *err)
{
    for (int i = 0; i < START_DEADLINE_S * 20; i++) {
        if (is_ready(e))
            return true;
        if (!alive(arg)) {
            err_set(err, SQLSTATE_CANNOT_CONNECT, "the private PostgreSQL server does not start");
            return err_detail(err, "Its log is \"%s\".", in_folder(e, "postgresql.log").text);
        }
        wait_ms(50);
    }
    return err_set(err, SQLSTATE_CANNOT_CONNECT, "the private PostgreSQL server does not answer");
}
