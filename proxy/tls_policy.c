/* Policies: an SSL_CTX made from settings and files.
 *
 * What all have in common: TLS 1.2 and 1.3 only; no compression, no renegotiation, no session cache and
 * no tickets (as PostgreSQL: a connection lives long, and a ticket key would be a secret to rotate);
 * buffers are given back while nothing flows (SSL_MODE_RELEASE_BUFFERS), since most sessions idle.
 *
 * Towards clients a certificate is asked for in the modes verify-ca and verify-full. One that cannot be
 * verified ends the handshake; none at all does not: the session says so then, in words that the client
 * can show. Towards a server everything that the mode demands is part of the handshake.
 *
 * Files are read with the rights that the process has now: after a start as root those of the setting
 * `user`, at the start and at each reload alike. */
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/slice.h"

#include "tls_private.h"

#define SYSTEM_CA "system"
#define ALPN "\012postgresql" /* a length byte, then the name */
#define ALPN_BYTES 11u

/* ---- modes and errors ---- */

static const char *const mode_names[] = {
#define X(name, text) text,
    TLS_MODES(X)
#undef X
};

bool tls_mode_find(const char *name, enum tls_mode *out)
{
    for (size_t i = 0; i < ARRAY_LEN(mode_names); i++) {
        if (strcmp(name, mode_names[i]) == 0) {
            *out = (enum tls_mode)i;
            return true;
        }
    }
    return false;
}

const char *tls_mode_name(enum tls_mode mode)
{
    return mode_names[mode];
}

const char *tls_take_error(char *out, size_t size)
{
    unsigned long code = ERR_get_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    if (reason != NULL)
        snprintf(out, size, "%s", reason);
    else
        snprintf(out, size, "TLS error %lu", code);
    ERR_clear_error();
    return out;
}

static bool is_empty(const char *text)
{
    return text == NULL || text[0] == '\0';
}

static bool fail(struct err *err, const char *fmt, const char *file)
{
    char reason[128];
    err_set(err, SQLSTATE_CONFIG_FILE_ERROR, fmt, file);
    return err_detail(err, "%s", tls_take_error(reason, sizeof reason));
}

/* OpenSSL's own words for a file that is not there are of little help. */
static bool can_open(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot open the file \"%s\"", path);
    close(fd);
    return true;
}

/* ---- the parts of a context ---- */

/* Nobody is here to be asked for a passphrase. */
static int refuse_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static bool load_certificate(SSL_CTX *ctx, const struct tls_settings *s, struct err *err)
{
    if (!can_open(s->cert_file, err) || !can_open(s->key_file, err))
        return false;
    if (SSL_CTX_use_certificate_chain_file(ctx, s->cert_file) != 1)
        return fail(err, "could not load the certificate file \"%s\"", s->cert_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, s->key_file, SSL_FILETYPE_PEM) != 1) {
        fail(err, "could not load the private key file \"%s\"", s->key_file);
        return err_hint(err, "It must belong to the certificate and have no passphrase.");
    }
    return SSL_CTX_check_private_key(ctx) == 1 ||
           fail(err, "the private key file \"%s\" does not belong to the certificate", s->key_file);
}

/* The list of names goes to clients, so that they can choose a certificate. */
static bool load_authorities(SSL_CTX *ctx, enum tls_role role, const char *file, struct err *err)
{
    if (strcmp(file, SYSTEM_CA) == 0)
        return SSL_CTX_set_default_verify_paths(ctx) == 1 ||
               fail(err, "could not load the %s's certificate authorities", SYSTEM_CA);
    if (!can_open(file, err))
        return false;
    if (SSL_CTX_load_verify_locations(ctx, file, NULL) != 1)
        return fail(err, "could not load the certificate authorities of \"%s\"", file);
    if (role == TLS_CONNECTS)
        return true;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);
    if (names == NULL)
        return fail(err, "could not load the certificate authorities of \"%s\"", file);
    SSL_CTX_set_client_CA_list(ctx, names);
    return true;
}

static bool set_protocols(SSL_CTX *ctx, const char *list, struct err *err)
{
    bool has_12 = false, has_13 = false;
    if (is_empty(list) || strcmp(list, "secure") == 0 || strcmp(list, "all") == 0)
        list = "tlsv1.2,tlsv1.3";
    for (const char *p = list; *p != '\0';) {
        size_t n = strcspn(p, ",: ");
        struct slice word = slice_of(p, n);
        if (slice_equals_nocase(word, "tlsv1.2"))
            has_12 = true;
        else if (slice_equals_nocase(word, "tlsv1.3"))
            has_13 = true;
        else if (n > 0) {
            err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "\"%.*s\" is no TLS protocol", (int)n, p);
            return err_hint(err, "Protocols are \"tlsv1.2\" and \"tlsv1.3\"; older ones are not "
                                 "safe. \"secure\" is both.");
        }
        p += n + (p[n] != '\0');
    }
    if (!has_12 && !has_13)
        return err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "the list of TLS protocols is empty");
    SSL_CTX_set_min_proto_version(ctx, has_12 ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_CTX_set_max_proto_version(ctx, has_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    return true;
}

static bool set_ciphers(SSL_CTX *ctx, const char *list, struct err *err)
{
    if (is_empty(list) || strcmp(list, "default") == 0 || strcmp(list, "secure") == 0)
        list = "HIGH:!aNULL";
    return SSL_CTX_set_cipher_list(ctx, list) == 1 || fail(err, "no cipher is in \"%s\"", list);
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
                       const unsigned char *in, unsigned in_bytes, void *arg)
{
    (void)ssl;
    (void)arg;
    unsigned char *chosen = NULL;
    if (SSL_select_next_proto(&chosen, out_bytes, (const unsigned char *)ALPN, ALPN_BYTES, in,
                              in_bytes) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static void set_common(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_default_passwd_cb(ctx, refuse_passphrase);
    SSL_CTX_set_dh_auto(ctx, 1);
}

/* ---- the two roles ---- */

static bool needs(struct err *err, const char *what, enum tls_mode mode)
{
    return err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "sslmode \"%s\" needs a %s", mode_names[mode],
                   what);
}

static bool set_up_accepting(SSL_CTX *ctx, const struct tls_settings *s, struct err *err)
{
    if (is_empty(s->cert_file) || is_empty(s->key_file))
        return needs(err, "certificate file and a key file", s->mode);
    if (!load_certificate(ctx, s, err))
        return false;
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    if (s->mode < TLS_VERIFY_CA)
        return true;
    if (is_empty(s->ca_file))
        return needs(err, "CA file", s->mode);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return load_authorities(ctx, TLS_ACCEPTS, s->ca_file, err);
}

/* An address is compared with the certificate's addresses, a name with its names. */
static bool expect_host(SSL_CTX *ctx, const char *host, enum tls_mode mode, struct err *err)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);
    struct in6_addr address;
    if (is_empty(host))
        return needs(err, "host name", mode);
    if (host[0] == '/' || host[0] == '@')
        return true; /* a unix socket has no TLS */
    bool is_address =
        inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    int ok = is_address ? X509_VERIFY_PARAM_set1_ip_asc(param, host)
                        : X509_VERIFY_PARAM_set1_host(param, host, 0);
    return ok == 1 || err_no_memory(err);
}

static bool set_up_connecting(SSL_CTX *ctx, const struct tls_settings *s, struct err *err)
{
    if (is_empty(s->cert_file) != is_empty(s->key_file))
        return err_set(err, SQLSTATE_CONFIG_FILE_ERROR,
                       "a certificate file and its key file are needed, or none of them");
    if (!is_empty(s->cert_file) && !load_certificate(ctx, s, err))
        return false;
    if (SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)ALPN, ALPN_BYTES) != 0)
        return err_no_memory(err);
    if (s->mode < TLS_VERIFY_CA)
        return true;
    if (is_empty(s->ca_file))
        return needs(err, "CA file", s->mode);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return load_authorities(ctx, TLS_CONNECTS, s->ca_file, err) &&
           (s->mode < TLS_VERIFY_FULL || expect_host(ctx, s->host, s->mode, err));
}

static bool set_up(struct tls_policy *p, const struct tls_settings *s, struct err *err)
{
    set_common(p->ctx);
    snprintf(p->host, sizeof p->host, "%s", is_empty(s->host) ? "" : s->host);
    return set_protocols(p->ctx, s->protocols, err) && set_ciphers(p->ctx, s->ciphers, err) &&
           (p->role == TLS_ACCEPTS ? set_up_accepting(p->ctx, s, err)
                                   : set_up_connecting(p->ctx, s, err));
}

/* ---- life ---- */

bool tls_policy_new(enum tls_role role, const struct tls_settings *s, struct tls_policy **out,
                    struct err *err)
{
    *out = NULL;
    if (s->mode == TLS_DISABLE)
        return true;
    struct tls_policy *p = calloc(1, sizeof *p);
    if (p == NULL)
        return err_no_memory(err);
    ERR_clear_error();
    p->references = 1;
    p->role = role;
    p->mode = s->mode;
    p->ctx = SSL_CTX_new(role == TLS_ACCEPTS ? TLS_server_method() : TLS_client_method());
    if (p->ctx == NULL ? !err_no_memory(err) : !set_up(p, s, err)) {
        tls_policy_free(p);
        return false;
    }
    ERR_clear_error();
    *out = p;
    return true;
}

struct tls_policy *tls_policy_hold(struct tls_policy *p)
{
    if (p != NULL)
        atomic_fetch_add(&p->references, 1);
    return p;
}

void tls_policy_free(struct tls_policy *p)
{
    if (p == NULL || atomic_fetch_sub(&p->references, 1) > 1)
        return;
    SSL_CTX_free(p->ctx);
    free(p);
}

enum tls_mode tls_policy_mode(const struct tls_policy *p)
{
    return p == NULL ? TLS_DISABLE : p->mode;
}

bool tls_policy_own_certificate(const struct tls_policy *p, int64_t *not_after, char *subject,
                                size_t size)
{
    X509 *x = p == NULL ? NULL : SSL_CTX_get0_certificate(p->ctx);
    struct tm tm;
    if (x == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) != 1)
        return false;
    *not_after = (int64_t)timegm(&tm);
    X509_NAME_oneline(X509_get_subject_name(x), subject, (int)size);
    return true;
}

/* ---- slots ---- */

void tls_slot_init(struct tls_slot *slot)
{
    pthread_mutex_init(&slot->lock, NULL);
    slot->policy = NULL;
}

void tls_slot_fini(struct tls_slot *slot)
{
    tls_policy_free(slot->policy);
    pthread_mutex_destroy(&slot->lock);
}

void tls_slot_put(struct tls_slot *slot, struct tls_policy *p)
{
    pthread_mutex_lock(&slot->lock);
    struct tls_policy *old = slot->policy;
    slot->policy = p;
    pthread_mutex_unlock(&slot->lock);
    tls_policy_free(old);
}

struct tls_policy *tls_slot_get(struct tls_slot *slot)
{
    if (slot == NULL)
        return NULL;
    pthread_mutex_lock(&slot->lock);
    struct tls_policy *p = tls_policy_hold(slot->policy);
    pthread_mutex_unlock(&slot->lock);
    return p;
}

enum tls_mode tls_slot_mode(struct tls_slot *slot)
{
    struct tls_policy *p = tls_slot_get(slot);
    enum tls_mode mode = tls_policy_mode(p);
    tls_policy_free(p);
    return mode;
}
