/* How one leg of the proxy wants TLS: plain values, as they stand in the configuration. Modes and
 * names are PgBouncer's; what a mode means depends on the side.
 *
 *   mode          towards clients                       towards the server
 *   disable       SSLRequest is answered N              not asked for
 *   allow,prefer  who asks gets TLS                     asked for; in the clear if the server has none
 *   require       who does not is refused               asked for; fails if the server has none
 *   verify-ca     and shows a certificate of the CA     and the certificate is one of the CA
 *   verify-full   and its CN is the user's name         and it is made out for the server's name
 *
 * Unix sockets never have TLS, whatever the mode says, as with PostgreSQL. */
#ifndef PROXY_TLS_SETTINGS_H
#define PROXY_TLS_SETTINGS_H

#include <stdbool.h>

#define TLS_MODES(X)                                                                               \
    X(DISABLE, "disable")                                                                          \
    X(ALLOW, "allow")                                                                              \
    X(PREFER, "prefer")                                                                            \
    X(REQUIRE, "require")                                                                          \
    X(VERIFY_CA, "verify-ca")                                                                      \
    X(VERIFY_FULL, "verify-full")

/* In the order of what they demand. */
enum tls_mode {
#define X(name, text) TLS_##name,
    TLS_MODES(X)
#undef X
};

/* All texts are borrowed; NULL is as good as empty. */
struct tls_settings {
    enum tls_mode mode;
    const char *key_file;  /* private key of cert_file, without a passphrase */
    const char *cert_file; /* PEM, our own certificate first, then those between it and the CA's */
    const char *ca_file;   /* PEM: whom we trust; "system": what the system trusts */
    const char *protocols; /* "secure" (the default), or some of tlsv1.2,tlsv1.3 */
    const char *ciphers;   /* "default", or an OpenSSL list; TLS 1.3 has its own and keeps it */
    const char *host;      /* towards a server: whose name the certificate must bear */
};

/* False: no such mode. */
bool tls_mode_find(const char *name, enum tls_mode *out);
const char *tls_mode_name(enum tls_mode mode);

#endif
