/* Hostile SCRAM messages to both roles, and stored verifiers; the first byte chooses. */
#include <stdint.h>
#include <stdlib.h>

#include "protocol/scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define VERIFIER                                                                                   \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"    \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static void client_step(struct slice challenge, struct buf *out)
{
    struct scram_client *c;
    struct err err;
    if (!scram_client_new(slice_cstr("pencil"), "n", &c, &err) ||
        !scram_client_write_first(c, out, &err))
        abort();
    if (scram_client_step(c, challenge, out, &err) &&
        scram_client_finish(c, slice_cstr("v=AAAA"), &err))
        abort();
    scram_client_free(c);
}

static void client_finish(struct slice final, struct buf *out)
{
    struct scram_client *c;
    struct err err;
    if (!scram_client_new(slice_cstr("pencil"), "n", &c, &err) ||
        !scram_client_write_first(c, out, &err) ||
        !scram_client_step(c, slice_cstr("r=nx,s=c2FsdA==,i=1"), out, &err))
        abort();
    (void)scram_client_finish(c, final, &err);
    scram_client_free(c);
}

static void server(struct slice first, struct slice final, struct buf *out)
{
    struct scram_verifier v;
    struct scram_server *s;
    struct err err;
    uint8_t key[CRYPTO_SHA256_BYTES];
    if (!scram_verifier_read(slice_cstr(VERIFIER), &v) || !scram_server_new(&v, "s", &s, &err))
        abort();
    if (scram_server_challenge(s, first, out, &err) &&
        scram_server_finish(s, final, out, key, &err))
        abort(); /* nobody guesses a proof */
    scram_server_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scram_verifier v;
    struct buf out;
    if (size == 0)
        return 0;
    struct slice text = slice_of((const char *)data + 1, size - 1);
    buf_init(&out, 1 << 20);
    switch (data[0] % 5) {
    case 0:
        if (size < 32) /* a large iteration count is legal and slow */
            client_step(text, &out);
        break;
    case 1: client_finish(text, &out); break;
    case 2: server(text, slice_of("", 0), &out); break;
    case 3: server(slice_cstr("n,,n=,r=c"), text, &out); break;
    default: (void)scram_verifier_read(text, &v); break;
    }
    buf_fini(&out);
    return 0;
}
