/* Who keeps files on disk may be killed before it cleans up, and they are large. So each folder is
 * held by a lock (flock on the folder itself), which the kernel takes back with the process: a folder
 * that can be locked belongs to nobody, and whoever comes next removes it. Process ids would not do:
 * they are taken again, and differ between containers that share a folder.
 *
 * Between mkdtemp and the lock a new folder looks abandoned. A sweeper may then lock and remove it; the
 * maker sees that by the lock it does not get or by the folder that is gone, and makes another. */
#include "base/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCRATCH_PREFIX "pgveneer-job-"
#define SCRATCH_ATTEMPTS 8
#define SCRATCH_OPEN_FILES 16

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *f)
{
    (void)st, (void)kind, (void)f;
    remove(path); /* what resists stays for the next run */
    return 0;
}

static void remove_folder(const char *folder)
{
    nftw(folder, remove_entry, SCRATCH_OPEN_FILES, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* The folder, locked, and still the one of that name; -1: somebody else has it, or it is gone. */
static int lock_folder(const char *folder)
{
    struct stat opened, named;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &opened) == 0 &&
        lstat(folder, &named) == 0 && opened.st_ino == named.st_ino &&
        opened.st_dev == named.st_dev && opened.st_uid == geteuid())
        return fd;
    close(fd);
    return -1;
}

static void sweep(const char *parent)
{
    char path[4096];
    DIR *d = opendir(parent);
    if (d == NULL)
        return;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (strncmp(e->d_name, SCRATCH_PREFIX, sizeof SCRATCH_PREFIX - 1) != 0 ||
            snprintf(path, sizeof path, "%s/%s", parent, e->d_name) >= (int)sizeof path)
            continue;
        int fd = lock_folder(path);
        if (fd < 0)
            continue;
        remove_folder(path);
        close(fd);
    }
    closedir(d);
}

bool scratch_open(struct arena *a, const char *parent, struct scratch *out, struct err *err)
{
    *out = (struct scratch){.lock_fd = -1};
    if (parent == NULL)
        parent = getenv("TMPDIR");
    if (parent == NULL)
        parent = "/tmp";
    sweep(parent);
    for (int i = 0; i < SCRATCH_ATTEMPTS; i++) {
        char *folder = arena_printf(a, "%s/" SCRATCH_PREFIX "XXXXXX", parent);
        if (folder == NULL)
            return err_no_memory(err);
        if (mkdtemp(folder) == NULL)
            return err_set_errno(err, errno, "could not create a folder in \"%s\"", parent);
        int fd = lock_folder(folder);
        if (fd >= 0) {
            *out = (struct scratch){.folder = folder, .lock_fd = fd};
            return true;
        }
    }
    return err_set(err, SQLSTATE_IO_ERROR, "could not keep a folder in \"%s\"", parent);
}

void scratch_close(struct scratch *s)
{
    if (s->folder == NULL)
        return;
    remove_folder(s->folder);
    close(s->lock_fd);
    s->folder = NULL;
}
