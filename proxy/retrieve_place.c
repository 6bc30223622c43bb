/* Which loop a retrieve session lives on. Clients are spread over the loops by number when they are
 * accepted, before anybody knows what they want. A retrieve session keeps its loop busy as long as it
 * reads, while most others wait most of the time; with two on one loop the other one may be idle. So it
 * goes to the loop that has the fewest of its kind, and takes its connection there.
 *
 *   accepted on loop 0 ──> startup packet ──> conn_leave, mail ──> loop 1: conn_join, retrieve_open
 *
 * The session counts on its new loop from the moment of the choice, so that the next one sees it, and
 * the process does not end while it is under way. */
#include "retrieve.h"

#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "loop.h"
#include "session.h"

struct mover {
    struct mail mail;
    struct session_group *group; /* to which it goes */
    struct conn *client;
    char *who;
    uint32_t number;
    struct startup_packet startup; /* borrows from packet */
    struct buf packet;
};

static struct session_group *choose(struct session_group *home)
{
    struct session_shared *shared = home->shared;
    struct session_group *best = home;
    for (size_t i = 0; i < shared->group_count; i++)
        if (atomic_load(&shared->groups[i].retriever_count) < atomic_load(&best->retriever_count))
            best = &shared->groups[i];
    return best;
}

static void open_here(struct session_group *g, struct conn *client, const char *who,
                      uint32_t number, const struct startup_packet *p, struct buf *packet)
{
    retrieve_open(g, client, who, number, p, packet->data + packet->start + p->bytes,
                  buf_length(packet) - p->bytes);
}

static void on_mover(struct mail *mail)
{
    struct mover *m = MAIL_ENTRY(mail, struct mover, mail);
    struct session_group *g = m->group;
    conn_join(m->client, g->loop);
    open_here(g, m->client, m->who, m->number, &m->startup, &m->packet);
    atomic_fetch_sub(&g->count, 1); /* the place that was kept for it */
    if (g->draining)
        retrieve_end_all(g, false);
    buf_fini(&m->packet);
    free(m->who);
    free(m);
}

void retrieve_place(struct session_group *home, struct conn *client, const char *who,
                    uint32_t number, const struct startup_packet *p, struct buf *packet)
{
    struct session_group *g = choose(home);
    struct mover *m = g == home ? NULL : calloc(1, sizeof *m);
    char *name = m == NULL ? NULL : strdup(who);
    if (name == NULL) {
        free(m);
        atomic_fetch_add(&home->retriever_count, 1);
        open_here(home, client, who, number, p, packet);
        return;
    }
    atomic_fetch_add(&g->retriever_count, 1);
    atomic_fetch_add(&g->count, 1);
    *m = (struct mover){.mail.on_receive = on_mover,
                        .group = g,
                        .client = client,
                        .who = name,
                        .number = number,
                        .startup = *p,
                        .packet = *packet};
    buf_init(packet, 1); /* moved */
    conn_leave(client);
    loop_post(g->loop, &m->mail);
}
