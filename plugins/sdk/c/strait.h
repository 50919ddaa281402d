/* SDK for Strait plugins in C.
 *
 * A plugin defines the four plugin_ functions below and is compiled together with strait.c. The
 * host calls it once per batch; strait.c turns that into one call of plugin_on_record per record
 * and collects the results. Only what plugin_open_topic requests is copied into the guest.
 * plugin.wit defines the layout of columns and edits. */
#ifndef STRAIT_H
#define STRAIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Effects of a plugin: bits of `effects`. */
enum {
    STRAIT_DROP = 1 << 0,
    STRAIT_KEY = 1 << 1,
    STRAIT_VALUE = 1 << 2,
    STRAIT_FIELD = 1 << 3,
    STRAIT_HEADER = 1 << 4,
    STRAIT_TIMESTAMP = 1 << 5,
    STRAIT_TOPIC = 1 << 6,
    STRAIT_PARTITION = 1 << 7,
    STRAIT_EMIT = 1 << 8,
    STRAIT_REJECT = 1 << 9
};

/* Columns: the parts of a record that a plugin sees. */
enum {
    STRAIT_SEE_OFFSET = 1 << 0,
    STRAIT_SEE_TIMESTAMP = 1 << 1,
    STRAIT_SEE_KEY = 1 << 2,
    STRAIT_SEE_VALUE = 1 << 3,
    STRAIT_SEE_VALUE_STATE = 1 << 4,
    /* Set it together with header_names or STRAIT_SEE_ALL_HEADERS. */
    STRAIT_SEE_HEADERS = 1 << 5,
    STRAIT_SEE_ALL_HEADERS = 1 << 6
};

/* Levels of strait_log. */
enum { STRAIT_TRACE, STRAIT_DEBUG, STRAIT_INFO, STRAIT_WARN, STRAIT_ERROR };

/* Bytes without a terminating NUL. `data` is NULL only for Kafka's null: an empty key has a
 * pointer. */
typedef struct {
    const uint8_t *data;
    size_t len;
} strait_bytes;

/* The description of a plugin. Texts and lists must outlive the call, as string literals do. Lists
 * end with NULL. */
typedef struct {
    const char *name;
    const char *version;
    const char *description;
    /* JSON Schema of the configuration; NULL allows an empty object. */
    const char *config_schema;
    /* The most that this plugin can ever do. */
    uint32_t effects;
    /* Whether a record that the plugin could not judge must not pass. Set it for a redactor. */
    bool fails_closed;
    const char *const *counters;
    const char *const *reject_codes;
} strait_about;

/* The link that the plugin runs on. Regions may be null. */
typedef struct {
    strait_bytes link, source, source_region, target, target_region;
} strait_link;

/* The parts of a topic's records that a plugin reads, and its effects. Lists end with NULL. */
typedef struct {
    /* STRAIT_SEE_ bits. */
    uint32_t see;
    uint32_t effects;
    const char *const *fields;
    const char *const *header_names;
    /* Topics that strait_set_topic may use: regular expressions that match the whole name. */
    const char *const *output_topics;
    /* Largest value to pass to the plugin, in bytes; 0 = no limit. A record with a larger one is
     * rejected if the plugin fails closed, and otherwise passed on without it. */
    uint32_t value_max_bytes;
    /* Makes the plugin stateful: one instance per partition, warmed up from the log before it
     * judges. The warm-up covers at most so many offsets (1 to 10,000,000) and at most this age in
     * milliseconds (0 = no limit). 0 records: not stateful. */
    uint32_t lookback_records;
    uint64_t lookback_millis;
} strait_needs;

typedef struct strait_record strait_record;

/* --- functions that a plugin defines --- */

void plugin_describe(strait_about *about);
/* `config` is JSON with secrets resolved. Returns NULL, or a message if the configuration is
 * invalid. */
const char *plugin_configure(strait_bytes config, const strait_link *link);
/* Fills in `needs` and returns true, or returns false to never see this topic, which costs nothing.
 * Called once per topic. */
bool plugin_open_topic(strait_bytes topic, uint32_t partitions, strait_needs *needs);
/* Judges one record: the strait_ functions below change it; without a call it passes. */
void plugin_on_record(strait_record *record);

/* --- reading a record; reading what `needs` did not request ends the call with an error --- */

strait_bytes strait_topic(const strait_record *record);
uint32_t strait_partition(const strait_record *record);
uint64_t strait_offset(const strait_record *record);
int64_t strait_timestamp_ms(const strait_record *record);
strait_bytes strait_key(const strait_record *record);
strait_bytes strait_value(const strait_record *record);
/* 0 parsed, 1 null, 2 empty, 3 not JSON, 4 not UTF-8, 5 BOM or trailing bytes, 6 a name twice, 7
 * too deep or too large */
uint8_t strait_value_state(const strait_record *record);
/* The number of places where the path at an index of `fields` matches, and the JSON text of one. */
uint32_t strait_field_count(const strait_record *record, uint32_t field);
strait_bytes strait_field(const strait_record *record, uint32_t field, uint32_t nth);
uint32_t strait_header_count(const strait_record *record);
strait_bytes strait_header_name(const strait_record *record, uint32_t header);
strait_bytes strait_header_value(const strait_record *record, uint32_t header);

/* --- the outcome for the record; null bytes are Kafka's null --- */

void strait_drop(strait_record *record);
void strait_reject(strait_record *record, uint32_t code, strait_bytes reason);
void strait_set_key(strait_record *record, strait_bytes key);
void strait_set_value(strait_record *record, strait_bytes value);
/* Null bytes remove the field. */
void strait_set_field(strait_record *record, uint32_t field, uint32_t nth, strait_bytes json);
void strait_insert_field(strait_record *record, uint32_t field, strait_bytes json);
void strait_set_header(strait_record *record, uint32_t header, strait_bytes value);
void strait_remove_header(strait_record *record, uint32_t header);
void strait_add_header(strait_record *record, strait_bytes name, strait_bytes value);
void strait_set_timestamp_ms(strait_record *record, int64_t timestamp_ms);
void strait_set_topic(strait_record *record, strait_bytes topic);
void strait_set_partition(strait_record *record, uint32_t partition);
void strait_partition_by(strait_record *record, strait_bytes bytes);
/* Sends a copy with the changes so far; further changes start again from the original. */
void strait_emit(strait_record *record);

/* --- helpers --- */

void strait_log(uint32_t level, strait_bytes message);
/* Adds to the counter at an index of `counters`. */
void strait_count(uint32_t counter, uint64_t delta);
/* Returns a text as bytes. */
strait_bytes strait_text(const char *text);
bool strait_equal(strait_bytes bytes, const char *text);
bool strait_starts_with(strait_bytes bytes, strait_bytes prefix);
/* Returns the text of a top-level member of a flat JSON object, escapes as written, or null if
 * there is none. For configurations of texts that the schema has validated; for more, use a JSON
 * library. */
strait_bytes strait_config_text(strait_bytes config, const char *name);

#endif
