/* What a client may say to a proxy that terminates its login: the messages of the input, one behind the
 * other, against an exchange whose server is ours. Nobody gets in: the password is not guessed. The first
 * byte: is the client's leg TLS, is the verifier there at once, later or not at all. */
#include <stdint.h>
#include <stdlib.h>

#include "auth_exchange.h"
#include "protocol/client_msg.h"
#include "protocol/scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define VERIFIER                                                                                   \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"    \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define CHALLENGE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"

/* The server's challenge to our SASLInitialResponse. */
static void challenge(struct auth_exchange *x, struct slice initial, struct buf *to_client)
{
    struct buf text;
    struct err err;
    size_t r = 0;
    while (r + 2 < initial.len && !slice_starts_with(slice_part(initial, r, initial.len), ",r="))
        r++;
    buf_init(&text, 1 << 16);
    buf_append_slice(&text, slice_part(initial, r + 1, initial.len));
    buf_append_cstr(&text, "theirs" CHALLENGE);
    struct wire_auth m = {WIRE_AUTH_SASL_CONTINUE, buf_slice(&text)};
    if (auth_exchange_on_server(x, &m, to_client, &err) != AUTH_TAKEN)
        abort();
    buf_fini(&text);
}

static void say(struct auth_exchange *x, struct slice body, struct buf *to_client, int *sent)
{
    struct buf to_server;
    struct err err;
    buf_init(&to_server, 1 << 16);
    if (auth_exchange_on_header(x, 'p', (uint32_t)body.len) == AUTH_TAKEN &&
        auth_exchange_on_client(x, body, &to_server, &err) == AUTH_TAKEN && (*sent)++ == 0)
        challenge(x, buf_slice(&to_server), to_client);
    buf_fini(&to_server);
}

/* Pieces of the input: a length byte (times four) and so many bytes. */
static struct slice next_piece(const uint8_t **data, size_t *size)
{
    size_t n = *size == 0 ? 0 : (size_t)(*data)[0] * 4;
    if (n + 1 > *size)
        n = *size == 0 ? 0 : *size - 1;
    struct slice piece = slice_of((const char *)*data + (*size > 0), n);
    *data += n + (*size > 0);
    *size -= n + (*size > 0);
    return piece;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct credential c;
    struct buf to_client;
    struct err err;
    int sent = 0;
    if (size == 0)
        return 0;
    uint8_t how = data[0];
    data++;
    size--;
    struct auth_exchange *x = auth_exchange_new(
        slice_cstr("anna"), how & 1 ? slice_cstr("0123456789abcdef") : slice_of("", 0));
    if (x == NULL)
        abort();
    buf_init(&to_client, 1 << 16);
    if (how & 2)
        auth_exchange_set_verifier(x, slice_cstr(how & 4 ? VERIFIER : ""));
    for (int i = 0; i < 4 && size > 0; i++)
        say(x, next_piece(&data, &size), &to_client, &sent);
    struct wire_auth ok = {WIRE_AUTH_OK, slice_of("", 0)};
    if (auth_exchange_on_server(x, &ok, &to_client, &err) != AUTH_REFUSED ||
        auth_exchange_get_credential(x, &c))
        abort();
    auth_exchange_free(x);
    buf_fini(&to_client);
    return 0;
}
