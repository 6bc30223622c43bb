/* Messages between threads. A mailbox belongs to one loop thread; anybody may post to it.
 *
 * A message is a struct that starts with (or holds) a `struct mail`: it is moved, not copied. Whoever
 * posts gives it away; whoever receives owns it. So posting allocates nothing and cannot fail, and
 * the number of messages under way is bounded by what their owners keep (one per session that waits,
 * one per request to the control connection).
 *
 *     struct install_done { struct mail mail; struct err err; void *asker; };
 *     static void on_install_done(struct mail *m)
 *     {
 *         struct install_done *d = MAIL_ENTRY(m, struct install_done, mail);
 *         …; free(d);
 *     }
 *     d->mail.on_receive = on_install_done;
 *     loop_post(asker_loop, &d->mail);        // any thread; runs on asker_loop's thread
 *
 * Messages of one sender arrive in the order in which they were posted. */
#ifndef PROXY_MAILBOX_H
#define PROXY_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

struct mail {
    struct mail *next;                  /* of the mailbox while under way */
    void (*on_receive)(struct mail *m); /* on the receiver's thread; takes m */
};

/* The struct of type `type` whose member `member` is the mail `m`. */
#define MAIL_ENTRY(m, type, member) ((type *)((char *)(m)-offsetof(type, member)))

struct mailbox {
    pthread_mutex_t lock;
    struct mail *first; /* oldest */
    struct mail *last;
    int wake_fd; /* eventfd: readable when there may be mail */
};

MUST_USE bool mailbox_init(struct mailbox *mb, struct err *err);
/* Mail that is still inside is not delivered and leaks to its senders: fini after the senders. */
void mailbox_fini(struct mailbox *mb);
/* Any thread. */
void mailbox_post(struct mailbox *mb, struct mail *m);
/* The owner's thread: receives everything that was inside when it was called. */
void mailbox_receive_all(struct mailbox *mb);

#endif
