/* A balancer in front of us (setting proxy_protocol_from) says in a PROXY header whose connection it
 * carries. From such an address the header must come, and from no other address is one taken: who could
 * choose would choose his address. The address appears in the log, in errors and in the session's name;
 * the server behind sees ours. */
#include "session.h"

#include "base/log.h"

#include "proxy_header.h"

void session_expect_header(struct session *s)
{
    const struct network_list *balancers = &s->group->shared->balancers;
    struct sockaddr_storage peer;
    s->login->awaits_header = balancers->count > 0 && conn_peer_address(s->client, &peer) &&
                              network_list_contains(balancers, &peer);
}

bool session_take_header(struct session *s)
{
    struct login *login = s->login;
    struct proxy_header header;
    char peer[96];
    enum proxy_header_verdict verdict = proxy_header_read(buf_slice(&login->packet), &header);
    if (verdict == PROXY_HEADER_INCOMPLETE)
        return false;
    if (verdict == PROXY_HEADER_BAD) {
        conn_peer_name(s->client, peer, sizeof peer);
        log_warning(s->who, "%s: no PROXY header of version 2, closed", peer);
        session_close(s);
        return false;
    }
    login->awaits_header = false;
    buf_consume(&login->packet, header.bytes);
    if (!header.has_address || conn_set_peer(s->client, &header.source))
        return true;
    session_close(s);
    return false;
}
