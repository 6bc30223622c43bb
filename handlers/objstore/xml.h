/* Reading the small XML documents that stores answer with. expat's only door.
 *
 * A document is told as a sequence of ends: the path of each element and the text that stands directly
 * in it. Refused: document types and entities of one's own (so nothing can be expanded), and what is
 * deeper or longer than these answers are. */
#ifndef OBJSTORE_XML_H
#define OBJSTORE_XML_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

/* path  "ListBucketResult/Contents/Key", names without their prefix ("s3:Key")
 * text  of the element, without that of its children; borrowed until it returns
 * False stops the reading; *err is set. */
typedef bool (*xml_on_end)(void *arg, const char *path, struct slice text, struct err *err);

/* Errors: 58030 (transient: a cut answer) not a well-formed document, or beyond the limits */
MUST_USE bool xml_read(struct slice document, xml_on_end on_end, void *arg, struct err *err);

#endif
