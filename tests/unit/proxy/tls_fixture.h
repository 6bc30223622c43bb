/* Certificates for unit tests, made by OpenSSL's own calls in a folder of the test's. */
#ifndef TLS_FIXTURE_H
#define TLS_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct made_certificate {
    EVP_PKEY *key;
    X509 *x;
    char cert_file[128];
    char key_file[128];
};

static char fixture_folder[64];

static inline void fixture_open(void)
{
    snprintf(fixture_folder, sizeof fixture_folder, "/tmp/pgveneer-tls-XXXXXX");
    if (mkdtemp(fixture_folder) == NULL)
        abort();
}

static inline void fixture_add_extension(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    if (e == NULL || X509_add_ext(x, e, -1) != 1)
        abort();
    X509_EXTENSION_free(e);
}

/* signer NULL: signs itself, and is an authority. names: "DNS:a,IP:127.0.0.1" or NULL. algorithm: "EC",
 * "RSA" or "ED25519"; digest NULL for the last. days: until its end. */
static inline void fixture_make(struct made_certificate *out, const char *cn, const char *names,
                                const struct made_certificate *signer, const char *algorithm,
                                const EVP_MD *digest, int days)
{
    static long serial;
    bool is_ca = signer == NULL;
    out->key = strcmp(algorithm, "EC") == 0    ? EVP_EC_gen("P-256")
               : strcmp(algorithm, "RSA") == 0 ? EVP_RSA_gen(2048)
                                               : EVP_PKEY_Q_keygen(NULL, NULL, algorithm);
    out->x = X509_new();
    X509_set_version(out->x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(out->x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(out->x), -86400L * 30);
    X509_gmtime_adj(X509_getm_notAfter(out->x), 86400L * days);
    X509_set_pubkey(out->x, out->key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(out->x), "CN", MBSTRING_UTF8,
                               (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(out->x, X509_get_subject_name(is_ca ? out->x : signer->x));
    fixture_add_extension(out->x, NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (names != NULL)
        fixture_add_extension(out->x, NID_subject_alt_name, names);
    if (X509_sign(out->x, is_ca ? out->key : signer->key, digest) == 0)
        abort();
    snprintf(out->cert_file, sizeof out->cert_file, "%s/%ld.crt", fixture_folder, serial);
    snprintf(out->key_file, sizeof out->key_file, "%s/%ld.key", fixture_folder, serial);
    FILE *f = fopen(out->cert_file, "w");
    PEM_write_X509(f, out->x);
    fclose(f);
    f = fopen(out->key_file, "w");
    PEM_write_PrivateKey(f, out->key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
}

static inline void fixture_drop(struct made_certificate *c)
{
    unlink(c->cert_file);
    unlink(c->key_file);
    X509_free(c->x);
    EVP_PKEY_free(c->key);
}

static inline void fixture_close(void)
{
    rmdir(fixture_folder);
}

#endif
