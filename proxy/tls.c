/* One stream of TLS as a filter: bytes of the wire go in by tls_feed, bytes for the wire come out by a
 * callback that takes everything. OpenSSL sees both ends as a BIO that never blocks in writing, so it
 * never says WANT_WRITE, and a reader that is slow, a socket that is full and a half-closed connection
 * are the conn's affair, the same for TLS and plain text.
 *
 *   wire ── tls_feed ──> BIO ── SSL_read ──> tls_read ──> owner
 *   wire <── callback ── BIO <── SSL_write ── tls_write <── owner
 *
 * All input is used up by each call: what is left of a record is inside OpenSSL then. The exception is
 * the handshake, behind whose last message the first data may come in the same piece: tls_keep copies
 * that. An end or failure that follows data is told by the next call, so that whoever stopped reading
 * meanwhile does not hear of it too early. */
#include "tls.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/buf.h"

#include "tls_private.h"

#define MAX_KEPT_BYTES ((size_t)1024 * 1024)

struct tls {
    SSL *ssl;                  /* owns */
    struct tls_policy *policy; /* owns a reference */
    tls_wire_fn *wire;
    void *arg;
    const char *in; /* borrows, or points into kept */
    size_t in_bytes;
    struct buf kept;
    bool wire_ended; /* the peer's socket is closed */
    bool is_up;      /* the handshake is complete */
    bool failed;
    bool holds_end; /* an end or failure was seen behind data */
    bool wrote_end;
    char *peer_cn; /* owns; NULL: none, or not verified */
};

/* ---- the BIO ---- */

static int bio_read(BIO *bio, char *out, size_t size, size_t *bytes)
{
    struct tls *t = BIO_get_data(bio);
    size_t n = t->in_bytes < size ? t->in_bytes : size;
    BIO_clear_retry_flags(bio);
    *bytes = n;
    if (n == 0) {
        if (!t->wire_ended)
            BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(out, t->in, n);
    t->in += n;
    t->in_bytes -= n;
    return 1;
}

static int bio_write(BIO *bio, const char *data, size_t size, size_t *bytes)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    t->wire(t->arg, data, size);
    *bytes = size;
    return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *arg)
{
    struct tls *t = BIO_get_data(bio);
    (void)number;
    (void)arg;
    switch (command) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP: return 1;
    case BIO_CTRL_EOF: return t->wire_ended && t->in_bytes == 0;
    default: return 0;
    }
}

static BIO_METHOD *bio_method;

/* Once a process; it lives as long as that. */
static void make_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pgveneer");
    if (m == NULL)
        return;
    BIO_meth_set_read_ex(m, bio_read);
    BIO_meth_set_write_ex(m, bio_write);
    BIO_meth_set_ctrl(m, bio_ctrl);
    bio_method = m;
}

static BIO *new_bio(struct tls *t)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_bio_method);
    BIO *bio = bio_method == NULL ? NULL : BIO_new(bio_method);
    if (bio == NULL)
        return NULL;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    return bio;
}

/* ---- life ---- */

/* The name goes out in the clear (SNI), so that a server with several certificates can choose;
 * addresses have no place there. */
static bool send_name(SSL *ssl, const char *host)
{
    struct in6_addr address;
    if (host[0] == '\0' || host[0] == '/' || host[0] == '@' ||
        inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1)
        return true;
    return SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct tls *tls_new(struct tls_policy *p, tls_wire_fn *wire, void *arg)
{
    struct tls *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    ERR_clear_error();
    *t = (struct tls){.policy = tls_policy_hold(p), .wire = wire, .arg = arg};
    buf_init(&t->kept, MAX_KEPT_BYTES);
    t->ssl = SSL_new(p->ctx);
    BIO *bio = new_bio(t);
    if (t->ssl == NULL || bio == NULL) {
        BIO_free(bio);
        tls_free(t);
        return NULL;
    }
    SSL_set_bio(t->ssl, bio, bio);
    if (p->role == TLS_ACCEPTS)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
    if (p->role == TLS_CONNECTS && !send_name(t->ssl, p->host)) {
        tls_free(t);
        return NULL;
    }
    return t;
}

void tls_free(struct tls *t)
{
    if (t == NULL)
        return;
    SSL_free(t->ssl);
    tls_policy_free(t->policy);
    buf_fini(&t->kept);
    free(t->peer_cn);
    free(t);
}

/* ---- input ---- */

void tls_feed(struct tls *t, const char *data, size_t bytes)
{
    t->in = data;
    t->in_bytes = bytes;
}

void tls_feed_end(struct tls *t)
{
    t->wire_ended = true;
}

bool tls_keep(struct tls *t)
{
    bool is_kept = t->in_bytes > 0 && buf_length(&t->kept) > 0;
    if (t->in_bytes == 0)
        buf_release(&t->kept);
    if (t->in_bytes == 0 || is_kept)
        return true;
    if (!buf_append(&t->kept, t->in, t->in_bytes))
        return false;
    t->in = buf_data(&t->kept);
    return true;
}

bool tls_has_input(const struct tls *t)
{
    return t->in_bytes > 0 || t->holds_end || SSL_pending(t->ssl) > 0;
}

/* ---- the handshake ---- */

static void set_failure(struct tls *t, const char *what, struct err *err)
{
    char reason[128];
    long verdict = SSL_get_verify_result(t->ssl);
    t->failed = true;
    if (ERR_peek_error() == 0)
        snprintf(reason, sizeof reason, "the peer closed the connection");
    else
        tls_take_error(reason, sizeof reason);
    err_set(err, SQLSTATE_CONNECTION_FAILURE, "%s: %s", what, reason);
    if (!t->is_up && verdict != X509_V_OK)
        err_detail(err, "%s", X509_verify_cert_error_string(verdict));
}

/* The first common name; one with a NUL inside is a forgery. */
static void read_peer(struct tls *t)
{
    X509 *x = SSL_get0_peer_certificate(t->ssl);
    if (x == NULL || SSL_get_verify_mode(t->ssl) == SSL_VERIFY_NONE ||
        SSL_get_verify_result(t->ssl) != X509_V_OK)
        return;
    X509_NAME *subject = X509_get_subject_name(x);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    X509_NAME_ENTRY *entry = at < 0 ? NULL : X509_NAME_get_entry(subject, at);
    unsigned char *text = NULL;
    int bytes = entry == NULL ? -1 : ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
    if (bytes > 0 && memchr(text, '\0', (size_t)bytes) == NULL)
        t->peer_cn = strndup((const char *)text, (size_t)bytes);
    OPENSSL_free(text);
}

enum tls_verdict tls_handshake(struct tls *t, struct err *err)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(t->ssl);
    if (rc == 1) {
        t->is_up = true;
        read_peer(t);
        return TLS_DONE;
    }
    if (SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_READ && !t->wire_ended)
        return TLS_MORE;
    set_failure(t, "TLS handshake failed", err);
    return TLS_FAILED;
}

/* ---- data ---- */

enum tls_verdict tls_read(struct tls *t, char *out, size_t size, size_t *bytes, struct err *err)
{
    *bytes = 0;
    t->holds_end = false;
    while (*bytes < size) {
        size_t n = 0;
        ERR_clear_error();
        int rc = SSL_read_ex(t->ssl, out + *bytes, size - *bytes, &n);
        *bytes += n;
        if (rc == 1)
            continue;
        int why = SSL_get_error(t->ssl, rc);
        if (why == SSL_ERROR_WANT_READ && !t->wire_ended)
            return TLS_MORE;
        if (*bytes > 0) { /* first the data */
            t->holds_end = true;
            return TLS_MORE;
        }
        if (why == SSL_ERROR_ZERO_RETURN)
            return TLS_ENDED;
        set_failure(t, "TLS connection lost", err);
        return TLS_FAILED;
    }
    return TLS_DONE;
}

bool tls_write(struct tls *t, const char *data, size_t bytes)
{
    while (bytes > 0) {
        size_t n = 0;
        size_t piece = bytes < INT_MAX ? bytes : INT_MAX;
        ERR_clear_error();
        if (t->failed || SSL_write_ex(t->ssl, data, piece, &n) != 1) {
            t->failed = true;
            return false;
        }
        data += n;
        bytes -= n;
    }
    return true;
}

void tls_end_writing(struct tls *t)
{
    if (!t->is_up || t->failed || t->wrote_end)
        return;
    t->wrote_end = true;
    ERR_clear_error();
    SSL_shutdown(t->ssl); /* the peer's answer, if it comes, is read as the end */
    ERR_clear_error();
}

/* ---- questions ---- */

bool tls_has_alpn(const struct tls *t)
{
    const unsigned char *name;
    unsigned bytes;
    SSL_get0_alpn_selected(t->ssl, &name, &bytes);
    return bytes > 0; /* there is but one to choose */
}

void tls_describe(const struct tls *t, char *out, size_t size)
{
    snprintf(out, size, "%s, %s", SSL_get_version(t->ssl), SSL_get_cipher_name(t->ssl));
}

const char *tls_peer_cn(const struct tls *t)
{
    return t->peer_cn;
}

bool tls_has_verified_peer(const struct tls *t)
{
    return t->is_up && SSL_get_verify_mode(t->ssl) != SSL_VERIFY_NONE &&
           SSL_get0_peer_certificate(t->ssl) != NULL && SSL_get_verify_result(t->ssl) == X509_V_OK;
}

static bool hash_certificate(X509 *x, uint8_t out[TLS_MAX_END_POINT_BYTES], size_t *bytes)
{
    int digest_nid;
    unsigned n = 0;
    if (x == NULL || X509_get_signature_info(x, &digest_nid, NULL, NULL, NULL) != 1 ||
        digest_nid == NID_undef)
        return false;
    if (digest_nid == NID_md5 || digest_nid == NID_sha1)
        digest_nid = NID_sha256;
    const EVP_MD *digest = EVP_get_digestbynid(digest_nid);
    if (digest == NULL || EVP_MD_get_size(digest) > TLS_MAX_END_POINT_BYTES ||
        X509_digest(x, digest, out, &n) != 1)
        return false;
    *bytes = n;
    return true;
}

bool tls_end_point(const struct tls *t, uint8_t out[TLS_MAX_END_POINT_BYTES], size_t *bytes)
{
    return hash_certificate(t->policy->role == TLS_ACCEPTS ? SSL_get_certificate(t->ssl)
                                                           : SSL_get0_peer_certificate(t->ssl),
                            out, bytes);
}

bool tls_policy_end_point(const struct tls_policy *p, uint8_t out[TLS_MAX_END_POINT_BYTES],
                          size_t *bytes)
{
    return hash_certificate(SSL_CTX_get0_certificate(p->ctx), out, bytes);
}
