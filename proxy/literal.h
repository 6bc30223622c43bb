/* What literals and quoted names mean; the lexer only says where they end. */
#ifndef LITERAL_H
#define LITERAL_H

#include "proxy/lexer.h"

/* Fills t->name from what stands between the quotes of a TOKEN_QUOTED (form and uescape are set). */
void literal_name(struct slice body, struct token *t, enum encoding e);

#endif
