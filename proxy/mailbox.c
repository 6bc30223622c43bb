/* A mutex, a singly linked list and an eventfd.
 *
 * The eventfd wakes the receiver's loop; it is written only when the list was empty, so that a burst
 * costs one wake-up. The receiver takes the whole list at once and calls each message without the
 * lock, so that a message may post to any mailbox, its own included (that one is received with the
 * next wake-up). */
#include "mailbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool mailbox_init(struct mailbox *mb, struct err *err)
{
    *mb = (struct mailbox){.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (mb->wake_fd < 0)
        return err_set_errno(err, errno, "could not create a mailbox");
    pthread_mutex_init(&mb->lock, NULL);
    return true;
}

void mailbox_fini(struct mailbox *mb)
{
    close(mb->wake_fd);
    pthread_mutex_destroy(&mb->lock);
}

void mailbox_post(struct mailbox *mb, struct mail *m)
{
    m->next = NULL;
    pthread_mutex_lock(&mb->lock);
    bool was_empty = mb->first == NULL;
    if (was_empty)
        mb->first = m;
    else
        mb->last->next = m;
    mb->last = m;
    pthread_mutex_unlock(&mb->lock);
    if (!was_empty)
        return;
    uint64_t one = 1;
    ssize_t n = write(mb->wake_fd, &one, sizeof one); /* fails only when it is readable anyway */
    (void)n;
}

static struct mail *take_all(struct mailbox *mb)
{
    uint64_t count;
    ssize_t n = read(mb->wake_fd, &count, sizeof count);
    (void)n;
    pthread_mutex_lock(&mb->lock);
    struct mail *m = mb->first;
    mb->first = mb->last = NULL;
    pthread_mutex_unlock(&mb->lock);
    return m;
}

void mailbox_receive_all(struct mailbox *mb)
{
    struct mail *m = take_all(mb);
    while (m != NULL) {
        struct mail *next = m->next; /* m is gone after the call */
        m->on_receive(m);
        m = next;
    }
}
