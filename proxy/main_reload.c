/* SIGHUP: the configuration is read again, and what may change while clients are connected changes.
 *
 * An error in the configuration leaves every setting as it is. The certificates are read again in any
 * case, by whoever serves: a renewed certificate must not wait for somebody to mend a line about
 * something else. Started as root, the process has the rights of the setting `user` by now; where that
 * user cannot read the configuration file (it holds a password), a reload is for certificates only.
 *
 * `run` takes the changes too, in its own memory: a proxy that it starts again later must not fall back to
 * what was. */
#include "main.h"

#include <string.h>

#include "base/log.h"

static const char *text_of(const struct config *c, const struct config_setting *s, char room[32])
{
    const char *field = (const char *)c + s->offset;
    switch (s->type) {
    case CONFIG_BOOL: return *(const bool *)field ? "on" : "off";
    case CONFIG_INT: snprintf(room, 32, "%lld", (long long)*(const int64_t *)field); return room;
    case CONFIG_TEXT:
    case CONFIG_CHOICE: break;
    }
    return *(const char *const *)field;
}

/* With --embedded these two are pgveneer's own. */
static bool is_embedded_own(const struct main_options *o, const struct config_setting *s)
{
    return o->embedded != NULL &&
           (strcmp(s->name, "backend") == 0 || strcmp(s->name, "service") == 0);
}

static void take_one(struct config *running, const struct config *fresh,
                     const struct config_setting *s, const char *who)
{
    char room[32];
    const char *value = text_of(fresh, s, room);
    struct err err;
    if (!s->reload) {
        if (who != NULL)
            log_warning(who, "\"%s\" cannot be changed without a restart", s->name);
        return;
    }
    if (!config_set(running, s, value, &err)) {
        log_err(LOG_LEVEL_ERROR, who == NULL ? "supervisor" : who, s->name, &err);
        return;
    }
    if (who != NULL)
        log_info(who, "\"%s\" is now \"%s\"", s->name, value);
}

static void take_changes(struct config *running, const struct config *fresh,
                         const struct main_options *o, const char *who)
{
    char a[32], b[32];
    for (size_t i = 0; i < config_setting_count; i++) {
        const struct config_setting *s = &config_settings[i];
        if (strcmp(text_of(running, s, a), text_of(fresh, s, b)) != 0 && !is_embedded_own(o, s))
            take_one(running, fresh, s, who);
    }
    main_apply_log(running);
}

void main_reload(struct config *running, const struct main_options *o, const char *who)
{
    static struct config_errors errors; /* too large for a stack */
    struct config fresh;
    struct err err;
    errors.count = errors.dropped = 0;
    if (!main_load_config(o, &fresh, &errors, &err)) {
        log_err(LOG_LEVEL_ERROR, who == NULL ? "supervisor" : who, "cannot reload", &err);
        config_fini(&fresh);
        return;
    }
    for (size_t i = 0; i < errors.count && who != NULL; i++)
        log_err(LOG_LEVEL_ERROR, who, "settings stay as they are", &errors.items[i]);
    if (errors.count == 0)
        take_changes(running, &fresh, o, who);
    config_fini(&fresh);
}
