/* Whose rights a process has, and the file that tells its id.
 *
 * Started as root, pgveneer reads its own configuration, opens its pidfile, and then becomes the
 * user of the setting `user` before it reads a byte from outside. Groups go first, the user id last:
 * the other way round the right to change groups would be gone. A try to become root again must
 * fail, or the process does not go on. */
#include "main.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

bool main_find_user(const struct config *c, struct main_user *out, struct err *err)
{
    struct passwd entry, *found = NULL;
    char room[4096];
    bool is_root = geteuid() == 0;
    int rc = is_root ? getpwnam_r(c->user, &entry, room, sizeof room, &found)
                     : getpwuid_r(geteuid(), &entry, room, sizeof room, &found);
    *out = (struct main_user){.uid = geteuid(), .gid = getegid()};
    if (!is_root) {
        snprintf(out->name, sizeof out->name, "%s", found != NULL ? found->pw_name : "unknown");
        return true;
    }
    if (found == NULL)
        return rc != 0
                   ? err_set_errno(err, rc, "cannot look up the user \"%s\"", c->user)
                   : err_set(err, SQLSTATE_CONFIG_FILE_ERROR,
                             "there is no user \"%s\" on this machine (setting \"user\")", c->user);
    if (found->pw_uid == 0)
        return err_set(err, SQLSTATE_CONFIG_FILE_ERROR,
                       "pgveneer does not run as root: set \"user\" to an unprivileged user");
    *out = (struct main_user){.uid = found->pw_uid, .gid = found->pw_gid};
    snprintf(out->name, sizeof out->name, "%s", found->pw_name);
    snprintf(out->home, sizeof out->home, "%s", found->pw_dir);
    return true;
}

bool main_drop_rights(const struct config *c, struct err *err)
{
    struct main_user user;
    if (geteuid() != 0)
        return true;
    if (!main_find_user(c, &user, err))
        return false;
    if (initgroups(user.name, user.gid) != 0 || setgid(user.gid) != 0 || setuid(user.uid) != 0)
        return err_set_errno(err, errno, "cannot become the user \"%s\"", user.name);
    if (setuid(0) == 0 || geteuid() == 0)
        return err_set(err, SQLSTATE_INTERNAL_ERROR, "root's rights could not be given up");
    /* Changing the user made the process undumpable, and /proc/self root's: jobs are started
     * through /proc/self/exe, and a core of ours is the user's own. */
    prctl(PR_SET_DUMPABLE, 1);
    /* libpq looks there for certificates and passwords, and takes "not allowed" for an error. */
    if (setenv("HOME", user.home, 1) != 0)
        return err_set_errno(err, errno, "cannot set the home folder");
    if (chdir("/") != 0)
        return err_set_errno(err, errno, "cannot change to the folder \"/\"");
    return true;
}

bool main_write_pidfile(const struct config *c, struct err *err)
{
    if (c->pidfile[0] == '\0')
        return true;
    int fd = open(c->pidfile, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot open the pidfile \"%s\"", c->pidfile);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_SETLK, &lock) != 0) {
        close(fd);
        return err_set(err, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                       "the pidfile \"%s\" belongs to a process that runs", c->pidfile);
    }
    /* Given to the user, so that it can be emptied at the end if its folder is root's. */
    struct main_user user;
    if (!main_find_user(c, &user, err))
        return false;
    if (geteuid() == 0 && fchown(fd, user.uid, user.gid) != 0)
        return err_set_errno(err, errno, "cannot give the pidfile \"%s\" to \"%s\"", c->pidfile,
                             user.name);
    /* The descriptor stays open: closing it would end the lock. */
    char text[32];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || write(fd, text, (size_t)n) != n)
        return err_set_errno(err, errno, "cannot write the pidfile \"%s\"", c->pidfile);
    return true;
}

void main_remove_pidfile(const struct config *c)
{
    if (c->pidfile[0] != '\0' && unlink(c->pidfile) != 0 && truncate(c->pidfile, 0) != 0)
        return; /* a stale number stays; the lock is gone with the process */
}
