/* Texts are spliced, never printed anew from a tree: what we do not replace reaches the server byte
 * for byte, comments and hints included. The way back is the same list of edits:
 *
 *   client   SELECT *                     FROM pg_task_show('x') WHERE y
 *   server   SELECT * FROM pgveneer.pg_task_show('x') WHERE y
 *                          ^^^^^^^^^ edit: start 14, length 0, with "pgveneer."
 *
 * A position in the server's text is carried back by taking off what the edits before it have added;
 * inside a replacement it becomes the start of what was replaced. Positions in the protocol count
 * characters, so the way goes from characters to bytes, through the edits, and to characters. */
#include "splice.h"

#include "proxy/encoding.h"

bool splice_text(struct arena *a, struct slice text, const struct gate_edit *edits, size_t count,
                 struct slice *out)
{
    size_t bytes = text.len;
    for (size_t i = 0; i < count; i++)
        bytes += edits[i].with.len - edits[i].length;
    char *p = arena_alloc(a, bytes);
    if (p == NULL)
        return false;
    *out = slice_of(p, bytes);
    size_t from = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(p, text.data + from, edits[i].start - from);
        p += edits[i].start - from;
        memcpy(p, edits[i].with.data, edits[i].with.len);
        p += edits[i].with.len;
        from = edits[i].start + edits[i].length;
    }
    if (text.len > from)
        memcpy(p, text.data + from, text.len - from);
    return true;
}

/* Bytes of the client's text, or of a replacement, are the server's text piece by piece. Walks the
 * pieces while `left` characters are left, and returns the byte in the client's text. */
static size_t find_byte(struct slice text, const struct gate_edit *edits, size_t count,
                        enum encoding e, size_t left)
{
    size_t from = 0;
    for (size_t i = 0; i < count; i++) {
        struct slice kept = slice_part(text, from, edits[i].start);
        size_t characters = encoding_count(e, kept);
        if (left < characters)
            return from + encoding_offset(e, kept, left);
        left -= characters;
        size_t added = encoding_count(e, edits[i].with);
        if (left < added)
            return edits[i].start;
        left -= added;
        from = edits[i].start + edits[i].length;
    }
    return from + encoding_offset(e, slice_part(text, from, text.len), left);
}

uint32_t gate_map_position(struct slice client_text, const struct gate_edit *edits,
                           size_t edit_count, const char *client_encoding, uint32_t position)
{
    if (position == 0)
        return 0;
    enum encoding e = encoding_find(client_encoding);
    size_t byte = find_byte(client_text, edits, edit_count, e, position - 1);
    return (uint32_t)encoding_count(e, slice_part(client_text, 0, byte)) + 1;
}
