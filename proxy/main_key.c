/* The key that secrets of servers are encrypted with: 64 hexadecimal digits in a file that only the
 * user of pgveneer can read. Proxy and jobs read it, each when it starts. */
#include "main.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE_BYTES 256

static bool check_file(int fd, const char *path, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_set_errno(err, errno, "could not look at \"%s\"", path);
    if (S_ISREG(st.st_mode) && (st.st_mode & 077) == 0)
        return true;
    err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "\"secret_key_file\" is readable by others: \"%s\"",
            path);
    return err_hint(err, "It must be a file of mode 0600 or less.");
}

bool main_read_secret_key(const struct config *c, struct sealed_key *key,
                          const struct sealed_key **out, struct err *err)
{
    char text[KEY_FILE_BYTES];
    const char *path = c->secret_key_file;
    *out = NULL;
    if (path[0] == '\0')
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "could not open \"secret_key_file\" \"%s\"", path);
    bool ok = check_file(fd, path, err);
    ssize_t n = ok ? read(fd, text, sizeof text) : 0;
    close(fd);
    if (!ok)
        return false;
    ok = n > 0 && sealed_key_read(slice_of(text, (size_t)n), key);
    crypto_wipe(text, sizeof text);
    if (ok) {
        *out = key;
        return true;
    }
    err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "\"secret_key_file\" holds no key: \"%s\"", path);
    return err_hint(err, "Make one: openssl rand -hex 32");
}
