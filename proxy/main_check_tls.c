/* `pgveneer check`, TLS: loads what the proxy would load, with the rights that the proxy has, and looks
 * at the end of our own certificates. What has expired is an error, since clients that verify refuse it;
 * what ends within a month is a warning. */
#include "main_check.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "conninfo.h"
#include "main.h"
#include "tls.h"

#define SOON_S ((int64_t)30 * 86400)

static void tell_end(const char *level, const char *what, const char *subject, int64_t not_after,
                     const char *words)
{
    struct tm tm;
    char date[32];
    struct err err;
    time_t end = (time_t)not_after;
    gmtime_r(&end, &tm);
    strftime(date, sizeof date, "%Y-%m-%d", &tm);
    err_set(&err, SQLSTATE_CONFIG_FILE_ERROR, "the certificate of \"%s\" %s %s", subject, words,
            date);
    main_check_tell(level, what, &err);
}

static unsigned check_end(const char *what, const struct tls_policy *p)
{
    int64_t not_after, now = (int64_t)time(NULL);
    char subject[256];
    if (!tls_policy_own_certificate(p, &not_after, subject, sizeof subject))
        return 0;
    bool is_over = not_after < now;
    tell_end(is_over                    ? "error"
             : not_after < now + SOON_S ? "warning"
                                        : "ok",
             what, subject, not_after, is_over ? "expired on" : "is valid until");
    return is_over;
}

static void check_key(const char *what, const char *file)
{
    struct stat st;
    struct err err;
    if (file == NULL || file[0] == '\0' || stat(file, &st) != 0 || (st.st_mode & S_IRWXO) == 0)
        return;
    err_set(&err, SQLSTATE_CONFIG_FILE_ERROR, "everybody may read or write the key file \"%s\"",
            file);
    err_hint(&err, "Give it mode 0600, or 0640 and a group of its own.");
    main_check_tell("warning", what, &err);
}

static unsigned check_leg(const char *what, enum tls_role role, const struct tls_settings *s)
{
    struct tls_policy *p;
    struct err err;
    unsigned errors = 0;
    if (s->mode == TLS_DISABLE)
        return 0;
    if (!tls_policy_new(role, s, &p, &err)) {
        main_check_tell("error", what, &err);
        return 1;
    }
    errors = check_end(what, p);
    check_key(what, s->key_file);
    if (errors == 0)
        printf("ok       %s: %s\n", what, tls_mode_name(s->mode));
    tls_policy_free(p);
    return errors;
}

static unsigned check_service(const char *service)
{
    struct conninfo info;
    struct tls_settings s;
    struct err err;
    if (service[0] == '\0')
        return 0;
    if (!conninfo_read(service, &info, &err)) {
        main_check_tell("error", "service", &err);
        return 1;
    }
    conninfo_tls(&info, &s);
    unsigned errors = check_leg("service, TLS", TLS_CONNECTS, &s);
    conninfo_fini(&info);
    return errors;
}

unsigned main_check_tls(const struct config *c)
{
    struct tls_settings client, server;
    struct config_backend backend;
    struct err err;
    main_read_tls(c, &client, &server);
    if (config_read_backend(c->backend, &backend, &err))
        server.host = backend.host;
    return check_leg("TLS towards clients", TLS_ACCEPTS, &client) +
           check_leg("TLS towards the server", TLS_CONNECTS, &server) + check_service(c->service);
}
