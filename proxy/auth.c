/* Authentication is the server's: its challenges and the client's responses pass unchanged, so every
 * method works and we hold no secret. Two things must not pass as they are.
 *
 * A server that lets a connection in without a challenge (trust in pg_hba.conf, or peer, which sees
 * the proxy's user on the socket) made its decision about *us*: to relay that would let everybody in
 * under any name. Until the server has sent a challenge the session forwards nothing of the client,
 * so that a query sent in advance cannot run on such a server either. Behind a challenge everything
 * may pass: the server takes it for the response.
 *
 * A server on a TLS connection offers SCRAM-SHA-256-PLUS. A client that is not on a TLS connection
 * itself would take that for an attack; it gets the list without it, and then says truly that it does
 * not bind. A client on TLS must see the list as it is: it would say that it could have bound, and the
 * server would take that for an attack. */
#include "auth.h"

#include "protocol/crypto.h"
#include "protocol/scram.h"

#include "auth_exchange.h"
#include "control.h"

void auth_init(struct auth *a, bool keeps)
{
    *a = (struct auth){.is_open = false};
    auth_record_init(&a->record);
    a->record.is_on = keeps;
    buf_init(&a->verifier, SCRAM_MAX_MESSAGE_BYTES);
}

void auth_forget(struct auth *a)
{
    if (a->ask != NULL)
        control_forget(a->ask);
    a->ask = NULL;
}

void auth_fini(struct auth *a)
{
    auth_forget(a);
    auth_exchange_free(a->exchange);
    a->exchange = NULL;
    auth_record_fini(&a->record);
    crypto_wipe_buf(&a->verifier);
    buf_fini(&a->verifier);
}

bool auth_check_trust(const struct auth *a, bool allow_trust, struct err *err)
{
    if (a->is_open || allow_trust)
        return true;
    err_set(err, SQLSTATE_INVALID_AUTHORIZATION,
            "server accepted the login without authentication");
    return err_hint(err, "Use an authentication method with a password in the server's "
                         "pg_hba.conf, or set \"allow_trust_backend\" to on.");
}

bool auth_write_without_plus(const struct wire_auth *m, struct buf *out)
{
    struct wire_reader r;
    struct buf list;
    bool found = false;
    bool others = false;
    buf_init(&list, 1024);
    wire_reader_init(&r, m->data);
    for (struct slice name = wire_get_cstr(&r); name.len > 0; name = wire_get_cstr(&r)) {
        bool is_plus = slice_ends_with(name, "-PLUS");
        found = found || is_plus;
        others = others || !is_plus;
        if (!is_plus)
            buf_append(&list, name.data, name.len + 1); /* with its NUL */
    }
    buf_append_byte(&list, '\0');
    struct wire_auth stripped = {m->kind, buf_slice(&list)};
    bool ok = found && others && !list.failed && wire_write_auth(out, &stripped);
    buf_fini(&list);
    return ok;
}
