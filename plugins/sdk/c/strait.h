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
    STRAIT_SEE_ALL_HEADERS = 1 << 6,
    STRAIT_SEE_TIMESTAMP_TYPE = 1 << 7,
    STRAIT_SEE_ORIGIN = 1 << 8,
    /* strait_field_pointer. Set it together with fields. */
    STRAIT_SEE_FIELD_POINTERS = 1 << 9
};

/* States of a value as a document. Only values of the first two were judged, and those of a number
 * that is not here were not: ask strait_is_judged. */
enum {
    STRAIT_PARSED,
    STRAIT_NULL,
    STRAIT_EMPTY,
    STRAIT_NOT_JSON,
    STRAIT_NOT_UTF8,
    STRAIT_TRAILING_BYTES,
    STRAIT_NAME_TWICE,
    STRAIT_TOO_LARGE,
    STRAIT_WRONG_SHAPE,
    STRAIT_NO_SCHEMA,
    STRAIT_OTHER_SCHEMA,
    STRAIT_SEALED
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
    /* For strait_reject. */
    const char *const *reject_codes;
} strait_about;

/* A counter, for strait_count. */
typedef struct {
    const char *name;
    /* The rule that it is of, by the operator's name for it; NULL for the whole plugin. */
    const char *rule;
    /* Whether Strait reports it if nothing is ever counted (event rule_silent). */
    bool expected;
} strait_counter;

/* The link that the plugin runs on. Regions may be null. */
typedef struct {
    strait_bytes link, source, source_region, target, target_region;
    /* Whether the operator demands residency: whatever cannot be judged must stay where it is, so a
     * plugin of several behaviours takes the strictest one by default. */
    bool demands_residency;
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

/* The plan of a plugin for one topic. */
typedef struct {
    strait_needs needs;
    /* Renames the topic (effect STRAIT_TOPIC); NULL keeps the name. */
    const char *name;
    /* What the plugin leaves of parts of the topic's records: a JSON array as plugin.wit describes
     * it. Each claim must be true of every record that the plugin lets pass. NULL claims nothing. */
    const char *protects;
    /* Has values count as parsed in which the path of a field meets something that it cannot step
     * into. Without it they have the state STRAIT_WRONG_SHAPE. */
    bool lenient_shapes;
    /* Why the plugin cannot work on this topic. The topic's partitions stop with it. */
    const char *failure;
} strait_plan;

typedef struct strait_record strait_record;

/* --- functions that a plugin defines --- */

void plugin_describe(strait_about *about);
/* `config` is JSON with secrets resolved. Returns NULL, or a message if the configuration is
 * invalid; *path can be set to a JSON Pointer to the mistake. Texts of config and link can be kept. */
const char *plugin_configure(strait_bytes config, const strait_link *link, const char **path);
/* Fills in `plan` and returns true, or returns false to never see this topic's records, which costs
 * nothing. Called once per topic. */
bool plugin_open_topic(strait_bytes topic, uint32_t partitions, strait_plan *plan);
/* Judges one record: the strait_ functions below change it; without a call it passes. */
void plugin_on_record(strait_record *record);

/* --- functions that a plugin may define --- */

/* Returns the counters and sets their number. Called once, after plugin_configure. */
const strait_counter *plugin_counters(size_t *count);
/* Ends a batch. Called after its last record. Use it to count sums, because a call of the host
 * costs more than a record. */
void plugin_end_batch(void);

/* --- reading a record; reading what `needs` did not request ends the call with an error --- */

strait_bytes strait_topic(const strait_record *record);
uint32_t strait_partition(const strait_record *record);
/* Whether the record is part of a warm-up: what the plugin makes of it is not sent. */
bool strait_is_warm_up(const strait_record *record);
/* Whether this is a retry, because an earlier call with the record failed. */
bool strait_is_second_try(const strait_record *record);
uint64_t strait_offset(const strait_record *record);
int64_t strait_timestamp_ms(const strait_record *record);
/* Whether the source broker set the timestamp. */
bool strait_timestamp_is_append_time(const strait_record *record);
/* The cluster where the record was produced; null if it is not known. */
strait_bytes strait_origin(const strait_record *record);
strait_bytes strait_key(const strait_record *record);
strait_bytes strait_value(const strait_record *record);
uint8_t strait_value_state(const strait_record *record);
/* Whether fields of a value in this state can be trusted, or there is no value. */
bool strait_is_judged(uint8_t value_state);
/* The number of places where the path at an index of `fields` matches, and the JSON text of one. */
uint32_t strait_field_count(const strait_record *record, uint32_t field);
strait_bytes strait_field(const strait_record *record, uint32_t field, uint32_t nth);
/* The location as a JSON Pointer. */
strait_bytes strait_field_pointer(const strait_record *record, uint32_t field, uint32_t nth);
uint32_t strait_header_count(const strait_record *record);
strait_bytes strait_header_name(const strait_record *record, uint32_t header);
strait_bytes strait_header_value(const strait_record *record, uint32_t header);

/* --- the outcome for the record; null bytes are Kafka's null --- */

/* After strait_emit, drops the original. It must be the last change. */
void strait_drop(strait_record *record);
/* Sends the record to quarantine on the source. `code` is one of reject_codes. The reason is for
 * the operator and must not contain personal data. */
void strait_reject(strait_record *record, const char *code, strait_bytes reason);
/* The same by a rule: that of a counter, by its index in plugin_counters. Its name goes into the
 * books of quarantine. */
void strait_reject_of(strait_record *record, uint32_t counter, const char *code, strait_bytes reason);
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
/* Adds to the counter at an index of plugin_counters. */
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
