/* Authentication is the server's: its challenges and the client's responses pass unchanged, so every
 * method works and we hold no secret. One thing must not pass. A server that lets a connection in
 * without a challenge (trust in pg_hba.conf, or peer, which sees the proxy's user on the socket) made
 * its decision about *us*: to relay that would let everybody in under any name.
 *
 * Until the server has sent a challenge the session forwards nothing of the client, so that a query
 * sent in advance cannot run on such a server either. Behind a challenge everything may pass: the
 * server takes it for the response. */
#include "auth.h"

#include "protocol/server_msg.h"

bool auth_on_message(struct auth *a, struct slice body, struct err *err)
{
    struct wire_reader r;
    struct wire_auth m;
    wire_reader_init(&r, body);
    if (!wire_read_auth(&r, &m))
        return err_set(err, SQLSTATE_PROTOCOL_VIOLATION,
                       "server sent a damaged authentication message");
    if (m.kind != WIRE_AUTH_OK) {
        a->is_open = true;
        return true;
    }
    if (!a->is_open && !a->allow_trust) {
        err_set(err, SQLSTATE_INVALID_AUTHORIZATION,
                "server accepted the login without authentication");
        return err_hint(err, "Use an authentication method with a password in the server's "
                             "pg_hba.conf, or set \"allow_trust_backend\" to on.");
    }
    a->is_open = true;
    return true;
}
