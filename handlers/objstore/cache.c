/*   FOLDER/objects/<name>         whole objects, named by what they are (store, bucket, key, ETag, size,
 *                                 access key: who may not read an object does not find it either)
 *   FOLDER/runs/pgveneer-job-…/N  the files that one run uses
 *   FOLDER/lock                   held by who removes objects
 *
 * A file is written under the run's own name and gets its name among the objects by link(2), which is
 * one step: nobody ever sees a part of an object, and two jobs that bring the same one do not disturb
 * each other. A run reads an object only through a link of its own, so that removing it from the
 * cache takes nothing away from anybody. The run's folder goes with it, or when it was killed with
 * the next run (base/scratch.h), so killed runs leave nothing either.
 *
 * Each use sets the time of the object's last change, which is what is removed first. The size is
 * compared when an object is taken: after a crash of the machine a file may be shorter than it was. */
#include "cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/log.h"
#include "protocol/crypto.h"

#define CACHE_DEFAULT_PARENT "/var/tmp"
#define CACHE_PATH_BYTES 4096

/* ---- the folder ---- */

/* Makes it if it is not there; nobody else may be able to put files into it. */
static bool make_folder(const char *path, struct err *err)
{
    struct stat st;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_set_errno(err, errno, "could not make the cache folder \"%s\"", path);
    if (lstat(path, &st) != 0)
        return err_set_errno(err, errno, "could not look at the cache folder \"%s\"", path);
    if (S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 022) == 0)
        return true;
    err_set(err, SQLSTATE_INSUFFICIENT_PRIVILEGE,
            "cache folder \"%s\" is not a folder of ours alone", path);
    return err_hint(err,
                    "The setting \"hudi_cache_dir\" names a folder that belongs to the user of "
                    "the worker, and that nobody else can write to.");
}

static bool make_folders(struct cache *c, struct arena *a, const char **runs, struct err *err)
{
    const char *objects = arena_printf(a, "%s/objects", c->folder);
    *runs = arena_printf(a, "%s/runs", c->folder);
    if (objects == NULL || *runs == NULL)
        return err_no_memory(err);
    return make_folder(c->folder, err) && make_folder(objects, err) && make_folder(*runs, err);
}

bool cache_open(struct cache *c, struct arena *a, const char *folder, int64_t limit_bytes,
                struct err *err)
{
    const char *runs;
    *c = (struct cache){.limit_bytes = limit_bytes, .run = {.lock_fd = -1}};
    bool is_named = folder != NULL && folder[0] != '\0';
    c->folder = is_named
                    ? arena_copy_cstr(a, folder)
                    : arena_printf(a, CACHE_DEFAULT_PARENT "/pgveneer-cache-%ld", (long)geteuid());
    if (c->folder == NULL)
        return err_no_memory(err);
    return make_folders(c, a, &runs, err) && scratch_open(a, runs, &c->run, err);
}


/* ---- objects ---- */

bool cache_name_write(struct slice identity, char out[CACHE_NAME_BYTES])
{
    uint8_t hash[CRYPTO_SHA256_BYTES];
    if (!crypto_sha256(identity, hash))
        return false;
    for (size_t i = 0; i < sizeof hash; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
    return true;
}

static void put_object_path(const struct cache *c, const char *name, char out[CACHE_PATH_BYTES])
{
    snprintf(out, CACHE_PATH_BYTES, "%s/objects/%s", c->folder, name);
}

static const char *next_path(struct cache *c, struct arena *a)
{
    return arena_printf(a, "%s/%lu", c->run.folder, c->next_file++);
}

bool cache_find(struct cache *c, struct arena *a, const char *name, int64_t size_bytes,
                const char **path, struct err *err)
{
    char object[CACHE_PATH_BYTES];
    struct stat st;
    *path = NULL;
    const char *own = next_path(c, a);
    if (own == NULL)
        return err_no_memory(err);
    put_object_path(c, name, object);
    if (link(object, own) != 0)
        return true;
    if (stat(own, &st) != 0 || st.st_size != size_bytes) {
        log_warning("objstore", "cached object %s is damaged and is fetched again", name);
        unlink(own);
        unlink(object);
        return true;
    }
    utimensat(AT_FDCWD, own, NULL, 0); /* the same file */
    *path = own;
    return true;
}

bool cache_begin(struct cache *c, struct arena *a, struct cache_file *f, struct err *err)
{
    *f = (struct cache_file){.path = next_path(c, a), .fd = -1};
    if (f->path == NULL)
        return err_no_memory(err);
    f->fd = open(f->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return f->fd >= 0 || err_set_errno(err, errno, "could not make a file in \"%s\"", c->folder);
}

bool cache_end(struct cache_file *f, struct err *err)
{
    int fd = f->fd;
    f->fd = -1;
    return close(fd) == 0 || err_set_errno(err, errno, "could not write \"%s\"", f->path);
}

void cache_drop(struct cache_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

/* What is kept is on the disk first: a crash of the machine must not leave zeros of the right size. */
void cache_keep(struct cache *c, const struct cache_file *f, const char *name, int64_t size_bytes)
{
    char object[CACHE_PATH_BYTES];
    if (size_bytes > c->limit_bytes)
        return;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && fdatasync(fd) == 0;
    if (fd >= 0)
        close(fd);
    put_object_path(c, name, object);
    if (!ok || (link(f->path, object) != 0 && errno != EEXIST))
        log_warning("objstore", "object %s is not kept in the cache", name);
}

/* ---- room ---- */

struct kept {
    char name[CACHE_NAME_BYTES];
    struct timespec used;
    int64_t size_bytes;
};

struct kept_list {
    struct kept *items; /* owns */
    size_t count, capacity;
    int64_t total_bytes;
};

static bool add_kept(struct kept_list *l, const char *name, const struct stat *st)
{
    if (l->count == l->capacity) {
        size_t capacity = l->capacity == 0 ? 256 : l->capacity * 2;
        struct kept *larger = realloc(l->items, capacity * sizeof *larger);
        if (larger == NULL)
            return false;
        l->items = larger;
        l->capacity = capacity;
    }
    struct kept *k = &l->items[l->count++];
    memcpy(k->name, name, CACHE_NAME_BYTES);
    k->used = st->st_mtim;
    k->size_bytes = st->st_size;
    l->total_bytes += st->st_size;
    return true;
}

static bool list_kept(int folder_fd, struct kept_list *l)
{
    struct stat st;
    int fd = dup(folder_fd);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool ok = true;
    for (struct dirent *e = readdir(dir); ok && e != NULL; e = readdir(dir))
        if (strlen(e->d_name) == CACHE_NAME_BYTES - 1 &&
            fstatat(folder_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            ok = add_kept(l, e->d_name, &st);
    closedir(dir);
    return ok;
}

static int compare_use(const void *a, const void *b)
{
    const struct timespec *x = &((const struct kept *)a)->used;
    const struct timespec *y = &((const struct kept *)b)->used;
    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

static void remove_oldest(int folder_fd, struct kept_list *l, int64_t bytes, int64_t limit)
{
    if (l->total_bytes + bytes <= limit)
        return;
    qsort(l->items, l->count, sizeof *l->items, compare_use);
    for (size_t i = 0; i < l->count && l->total_bytes + bytes > limit; i++)
        if (unlinkat(folder_fd, l->items[i].name, 0) == 0)
            l->total_bytes -= l->items[i].size_bytes;
}

/* Who finds the lock taken goes on without: somebody makes room just now. */
void cache_make_room(struct cache *c, int64_t bytes)
{
    char path[CACHE_PATH_BYTES];
    struct kept_list l = {.count = 0};
    snprintf(path, sizeof path, "%s/lock", c->folder);
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    snprintf(path, sizeof path, "%s/objects", c->folder);
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (bytes > c->limit_bytes)
        bytes = c->limit_bytes;
    if (lock >= 0 && folder >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0 && list_kept(folder, &l))
        remove_oldest(folder, &l, bytes, c->limit_bytes);
    free(l.items);
    if (folder >= 0)
        close(folder);
    if (lock >= 0)
        close(lock);
}

/* What others kept meanwhile may have gone beyond the limit. */
void cache_close(struct cache *c)
{
    if (c->next_file > 0)
        cache_make_room(c, 0);
    scratch_close(&c->run);
}
