/* A libpq connection string as far as the control connection needs it. Jobs hand the same string to
 * libpq; so what is understood here is understood as libpq does, and what is not is refused. */
#ifndef CONNINFO_H
#define CONNINFO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "proxy/tls_settings.h"

#define CONNINFO_VALUE_BYTES 512

struct conninfo {
    char host[CONNINFO_VALUE_BYTES]; /* hostaddr if given; name, address or folder of a socket */
    char named_host[CONNINFO_VALUE_BYTES]; /* host as written: what the password file goes by */
    uint16_t port;
    char user[64];
    char dbname[64];                     /* "": none given */
    char password[CONNINFO_VALUE_BYTES]; /* "": none given */
    char passfile[CONNINFO_VALUE_BYTES];
    enum tls_mode sslmode; /* prefer if not given, as in libpq */
    char sslrootcert[CONNINFO_VALUE_BYTES];
    char sslcert[CONNINFO_VALUE_BYTES];
    char sslkey[CONNINFO_VALUE_BYTES];
    char min_protocol[16];
};

/* "key=value key='quoted \' value'", or "postgresql://user:password@host:port/?key=value".
 * application_name, timeouts, keepalives and the like are read over: they concern jobs.
 * TLS as libpq has it, but for the files in the home folder, which count only when they are named.
 * Errors   F0000 syntax, unknown key, several hosts, TLS settings that do not fit; 0A000
 *          channel_binding=require */
MUST_USE bool conninfo_read(const char *text, struct conninfo *out, struct err *err);
/* The settings of TLS in it; they borrow from c. */
void conninfo_tls(const struct conninfo *c, struct tls_settings *out);
/* Wipes the password. */
void conninfo_fini(struct conninfo *c);

#define CONNINFO_MAX_PASSFILE_BYTES ((size_t)64 * 1024)
/* Appends the whole file. Errors: 58P01, 42501 not readable; F0000 others can read it, or too long */
MUST_USE bool conninfo_read_passfile(const char *path, struct buf *out, struct err *err);
/* The password of the first line of a password file (host:port:database:user:password, "*" matches
 * all, "\" escapes) that matches; false: no line does. `content` is the whole file. */
bool conninfo_find_password(struct slice content, const struct conninfo *c, struct slice dbname,
                            char *out, size_t size);

#endif
