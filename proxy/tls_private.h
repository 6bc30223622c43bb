/* Shared by tls_policy.c and tls.c alone. */
#ifndef TLS_PRIVATE_H
#define TLS_PRIVATE_H

#include <stdatomic.h>

#include <openssl/ssl.h>

#include "tls.h"

#define TLS_HOST_BYTES 256

struct tls_policy {
    atomic_uint references;
    enum tls_role role;
    enum tls_mode mode;
    SSL_CTX *ctx;              /* owns; streams hold references of their own */
    char host[TLS_HOST_BYTES]; /* TLS_CONNECTS */
};

/* Text of the first error in OpenSSL's queue of this thread, which is emptied. */
const char *tls_take_error(char *out, size_t size);

#endif
