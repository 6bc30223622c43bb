/* Objects of a local directory, which must lie below one of the administrator's roots.
 *
 * The rule is about where a path leads, not how it is spelled: the table's folder and every object
 * in it are opened first (O_PATH, which has no effect on the thing opened), then the kernel is
 * asked through /proc/self/fd where the descriptor really is, and only a place inside an allowed
 * root is read. So a symbolic link may stay inside, never lead out, and there is no moment between
 * check and use. "..", absolute paths and empty parts in object paths are refused by spelling.
 *
 * A folder outside the roots answers 42501 whether it exists or not: otherwise the error would tell
 * users of the database what lies on the server's disk.
 *
 * objstore_fetch gives the resolved name of the object, without any link in it, because DuckDB
 * opens files by name; the file is immutable by Hudi's rules. */
#include "objstore/objstore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store.h"

#define LOCAL_MAX_ROOTS 64
#define LOCAL_READ_BYTES ((size_t)64 << 10)

struct local {
    struct objstore base;
    int root_fd;                    /* O_PATH */
    char *root;                     /* owns; resolved */
    char *allowed[LOCAL_MAX_ROOTS]; /* owns; resolved */
    size_t nallowed;
};

/* Is `path` the folder `root` or below it? Both resolved. "/data" does not hold "/database". */
static bool is_below(const char *path, const char *root)
{
    size_t n = strlen(root);
    if (n == 1)
        return path[0] == '/';
    return strncmp(path, root, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static bool is_allowed(const struct local *st, const char *path)
{
    for (size_t i = 0; i < st->nallowed; i++)
        if (is_below(path, st->allowed[i]))
            return true;
    return false;
}

/* Roots that do not exist (yet) allow nothing. */
static bool read_roots(struct local *st, const char *roots, struct err *err)
{
    struct slice rest = slice_cstr(roots == NULL ? "" : roots);
    while (!slice_is_empty(rest)) {
        size_t n = slice_find_byte(rest, ',');
        struct slice part = slice_trim(slice_part(rest, 0, n));
        rest = slice_part(rest, n < rest.len ? n + 1 : n, rest.len);
        if (slice_is_empty(part) || part.data[0] != '/')
            continue;
        if (st->nallowed == LOCAL_MAX_ROOTS)
            return err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                           "more than %d folders in \"hudi_local_roots\"", LOCAL_MAX_ROOTS);
        char *copy = strndup(part.data, part.len);
        if (copy == NULL)
            return err_no_memory(err);
        char *resolved = realpath(copy, NULL);
        free(copy);
        if (resolved != NULL)
            st->allowed[st->nallowed++] = resolved;
    }
    return true;
}

/* A store that denies access is unreadable, which may be mended by the next try; 42501 says that a
 * folder lies outside the roots. */
static bool unreadable(struct err *err, int errnum, const char *what, const char *path)
{
    err_set_errno(err, errnum, "could not %s \"%s\"", what, path);
    if (errnum == EACCES || errnum == EPERM)
        memcpy(err->sqlstate, SQLSTATE_IO_ERROR, sizeof err->sqlstate);
    return false;
}

static bool refuse_outside(const char *path, struct err *err)
{
    err_set(err, SQLSTATE_INSUFFICIENT_PRIVILEGE,
            "folder \"%s\" is outside the folders that may be read", path);
    return err_hint(err, "The setting \"hudi_local_roots\" names the folders below which local "
                         "tables may lie.");
}

/* The folder does not resolve: may the user know why? Only if what exists of it lies inside. */
static bool refuse_missing(const struct local *st, const char *root, int errnum, struct err *err)
{
    char *parent = strdup(root);
    if (parent == NULL)
        return err_no_memory(err);
    char *resolved = NULL;
    for (char *slash; resolved == NULL && (slash = strrchr(parent, '/')) != NULL;) {
        *slash = '\0';
        resolved = realpath(parent[0] == '\0' ? "/" : parent, NULL);
        if (parent[0] == '\0')
            break;
    }
    bool inside = resolved != NULL && is_allowed(st, resolved) && strstr(root, "..") == NULL;
    free(resolved);
    free(parent);
    if (!inside)
        return refuse_outside(root, err);
    return unreadable(err, errnum, "open folder", root);
}

static bool open_root(struct local *st, const char *root, struct err *err)
{
    if (root[0] != '/')
        return err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE,
                       "folder \"%s\" is not an absolute path", root);
    st->root = realpath(root, NULL);
    if (st->root == NULL)
        return refuse_missing(st, root, errno, err);
    if (!is_allowed(st, st->root))
        return refuse_outside(root, err);
    st->root_fd = open(st->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (st->root_fd < 0)
        return unreadable(err, errno, "open folder", root);
    return true;
}

/* Where the descriptor really is. `where` has PATH_MAX bytes. */
static bool locate(const struct local *st, int fd, const char *path, char *where, struct err *err)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, where, PATH_MAX - 1);
    if (n < 0)
        return unreadable(err, errno, "resolve", path);
    where[n] = '\0';
    if (!is_allowed(st, where))
        return refuse_outside(path, err);
    return true;
}

/* Opens an object or folder for the check alone; *fd is the caller's. */
static bool open_checked(const struct local *st, const char *path, int *fd, char *where,
                         struct err *err)
{
    if (!store_path_is_plain(path))
        return refuse_outside(path, err);
    *fd = openat(st->root_fd, path[0] == '\0' ? "." : path, O_PATH | O_CLOEXEC);
    if (*fd < 0)
        return unreadable(err, errno, "open", path);
    if (locate(st, *fd, path, where, err))
        return true;
    close(*fd);
    *fd = -1;
    return false;
}

/* A readable descriptor in place of the O_PATH one, of the same thing. */
static bool reopen(int *fd, const char *path, int flags, struct err *err)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", *fd);
    int readable = open(link, O_RDONLY | O_CLOEXEC | flags);
    int errnum = errno;
    close(*fd);
    *fd = readable;
    if (readable < 0)
        return unreadable(err, errnum, "open", path);
    return true;
}

static bool open_object(const struct local *st, const char *path, int *fd, char *where,
                        struct err *err)
{
    if (!open_checked(st, path, fd, where, err))
        return false;
    struct stat s;
    if (fstat(*fd, &s) == 0 && S_ISREG(s.st_mode))
        return true;
    close(*fd);
    return err_set(err, SQLSTATE_UNDEFINED_FILE, "\"%s\" is not a file", path);
}

struct listing_builder {
    struct store_listing listing;
    const char *folder;
};

static bool add_entry(struct listing_builder *b, const char *name, const struct stat *s,
                      struct err *err)
{
    struct arena *a = b->listing.arena;
    struct objstore_entry e = {
        .path = b->folder[0] == '\0' ? arena_copy_cstr(a, name)
                                     : arena_printf(a, "%s/%s", b->folder, name),
        .size_bytes = s->st_size,
        .modified_ms = (int64_t)s->st_mtim.tv_sec * 1000 + s->st_mtim.tv_nsec / 1000000,
        .is_folder = S_ISDIR(s->st_mode),
    };
    if (e.path == NULL)
        return err_no_memory(err);
    return store_listing_add(&b->listing, &e, err);
}

/* Entries that vanish while we look, links that lead nowhere and things that are neither file nor
 * folder are left out. */
static bool read_entries(DIR *dir, struct listing_builder *b, struct err *err)
{
    for (;;) {
        errno = 0;
        struct dirent *d = readdir(dir);
        if (d == NULL && errno != 0)
            return unreadable(err, errno, "list folder", b->folder);
        if (d == NULL)
            return true;
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
            continue;
        struct stat s;
        if (fstatat(dirfd(dir), d->d_name, &s, 0) != 0)
            continue;
        if (!S_ISREG(s.st_mode) && !S_ISDIR(s.st_mode))
            continue;
        if (!add_entry(b, d->d_name, &s, err))
            return false;
    }
}

static bool local_list(struct objstore *base, struct arena *a, const char *folder,
                       struct objstore_listing *out, struct err *err)
{
    struct local *st = (struct local *)base;
    char where[PATH_MAX];
    int fd = -1;
    if (!open_checked(st, folder, &fd, where, err)) {
        bool missing = strcmp(err->sqlstate, SQLSTATE_UNDEFINED_FILE) == 0;
        if (missing)
            err_clear(err);
        return missing;
    }
    if (!reopen(&fd, folder, O_DIRECTORY, err))
        return false;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        unreadable(err, errno, "list folder", folder);
        close(fd);
        return false;
    }
    struct listing_builder b = {.listing = {.arena = a}, .folder = folder};
    bool ok = read_entries(dir, &b, err);
    closedir(dir);
    store_listing_take(&b.listing, out);
    return ok;
}

static bool read_all(int fd, const char *path, struct buf *out, struct err *err)
{
    char chunk[LOCAL_READ_BYTES];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return unreadable(err, errno, "read", path);
        if (n == 0)
            return true;
        if (!buf_append(out, chunk, (size_t)n))
            return err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                           "\"%s\" is larger than the limit of %zu bytes", path, out->max_bytes);
    }
}

static bool local_read(struct objstore *base, const char *path, struct buf *out, struct err *err)
{
    struct local *st = (struct local *)base;
    char where[PATH_MAX];
    int fd = -1;
    if (!open_object(st, path, &fd, where, err) || !reopen(&fd, path, 0, err))
        return false;
    bool ok = read_all(fd, path, out, err);
    close(fd);
    return ok;
}

static bool local_fetch(struct objstore *base, struct arena *a, const char *const *paths,
                        size_t count, const char **local_paths, struct err *err)
{
    struct local *st = (struct local *)base;
    char where[PATH_MAX];
    for (size_t i = 0; i < count; i++) {
        int fd = -1;
        if (!open_object(st, paths[i], &fd, where, err))
            return false;
        close(fd);
        local_paths[i] = arena_copy_cstr(a, where);
        if (local_paths[i] == NULL)
            return err_no_memory(err);
    }
    return true;
}

static void local_close(struct objstore *base)
{
    struct local *st = (struct local *)base;
    if (st->root_fd >= 0)
        close(st->root_fd);
    for (size_t i = 0; i < st->nallowed; i++)
        free(st->allowed[i]);
    free(st->root);
    free(st);
}

bool objstore_open_local(const char *root, const char *allowed_roots, struct objstore **out,
                         struct err *err)
{
    static const struct store_ops ops = {local_list, local_read, local_fetch, local_close};
    *out = NULL;
    struct local *st = calloc(1, sizeof *st);
    if (st == NULL)
        return err_no_memory(err);
    st->base.ops = &ops;
    st->root_fd = -1;
    if (!read_roots(st, allowed_roots, err) || !open_root(st, root, err)) {
        local_close(&st->base);
        return false;
    }
    *out = &st->base;
    return true;
}
