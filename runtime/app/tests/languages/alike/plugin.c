/* Does what the header "do" of a record says. The same plugin exists in each language. */
#include "strait.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST, NAME, ABSENT };

static const uint32_t ALL = (1 << 10) - 1;
static bool mistake, failure;
static uint32_t lookback = 10, warmed, ended;

void plugin_describe(strait_about *about) {
    static const char *const codes[] = {"odd", "worse", NULL};
    about->name = "alike";
    about->version = "1.0.0";
    about->effects = ALL;
    about->fails_closed = true;
    about->reject_codes = codes;
    about->config_schema = "{\"type\":\"object\"}";
}

const char *plugin_configure(strait_bytes config, const strait_link *link, const char **path) {
    (void)link;
    char *text = calloc(config.len + 1, 1);
    memcpy(text, config.data, config.len);
    mistake = strstr(text, "\"mistake\":true");
    failure = strstr(text, "\"failure\":true");
    const char *number = strstr(text, "\"lookback\":");
    if (number) lookback = (uint32_t)atoi(number + 11);
    *path = "/mistake";
    return mistake ? "as asked" : NULL;
}

const strait_counter *plugin_counters(size_t *count) {
    static const strait_counter counters[] = {{"seen", "rule-1", true}, {"ended", NULL, false}};
    *count = 2;
    return counters;
}

bool plugin_open_topic(strait_bytes topic, uint32_t partitions, strait_plan *plan) {
    static const char *const headers[] = {"do", "note", NULL};
    static const char *const bare[] = {"do", NULL};
    static const char *const fields[] = {"$.list[*]", "$.name", "$.absent", NULL};
    static const char *const output_topics[] = {"elsewhere", NULL};
    (void)partitions;
    if (failure) plan->failure = "as asked";
    if (strait_equal(topic, "old")) {
        plan->name = "new";
        return false;
    }
    plan->needs.effects = ALL;
    plan->needs.header_names = bare;
    if (strait_equal(topic, "bare")) return true;
    plan->needs = (strait_needs){
        .see = STRAIT_SEE_OFFSET | STRAIT_SEE_TIMESTAMP | STRAIT_SEE_TIMESTAMP_TYPE | STRAIT_SEE_ORIGIN | STRAIT_SEE_KEY
             | STRAIT_SEE_VALUE | STRAIT_SEE_VALUE_STATE | STRAIT_SEE_FIELD_POINTERS,
        .effects = ALL,
        .header_names = headers,
        .fields = fields,
        .output_topics = output_topics,
        .lookback_records = strait_equal(topic, "memory") ? lookback : 0,
    };
    if (strait_equal(topic, "lenient")) {
        plan->lenient_shapes = true;
        plan->protects = "[{\"rule\":\"all\",\"at\":\"value$['absent']\",\"leaves\":\"nothing\"}]";
    }
    return true;
}

static char seen[4096];
static size_t seen_len;

static void say(const char *format, ...) {
    va_list values;
    va_start(values, format);
    seen_len += (size_t)vsnprintf(seen + seen_len, sizeof seen - seen_len, format, values);
    va_end(values);
}

static void say_bytes(strait_bytes text) {
    if (!text.data) text = strait_text("null");
    say("%.*s", (int)text.len, (const char *)text.data);
}

static const char *yes(bool value) { return value ? "yes" : "no"; }

static void see(strait_record *record) {
    seen_len = 0;
    say_bytes(strait_topic(record));
    say("/%u@%llu %lld append=%s origin=", (unsigned)strait_partition(record), (unsigned long long)strait_offset(record),
        (long long)strait_timestamp_ms(record), yes(strait_timestamp_is_append_time(record)));
    say_bytes(strait_origin(record));
    say(" warm=%s again=%s judged=%s warmed=%u ended=%u key=", yes(strait_is_warm_up(record)),
        yes(strait_is_second_try(record)), yes(strait_is_judged(strait_value_state(record))), (unsigned)warmed,
        (unsigned)ended);
    say_bytes(strait_key(record));
    say(" value=");
    say_bytes(strait_value(record));
    say(" list=");
    for (uint32_t nth = 0; nth < strait_field_count(record, LIST); nth++) {
        say("%u:", (unsigned)nth);
        say_bytes(strait_field_pointer(record, LIST, nth));
        say(":");
        say_bytes(strait_field(record, LIST, nth));
        say(";");
    }
    strait_bytes name = strait_field_count(record, NAME) ? strait_field(record, NAME, 0) : (strait_bytes){0};
    if (name.data && name.data[0] == '"') name = (strait_bytes){name.data + 1, name.len - 2};
    else name = strait_text("null");
    say(" name=");
    say_bytes(name);
    say(" headers=");
    for (uint32_t at = 0; at < strait_header_count(record); at++) {
        say_bytes(strait_header_name(record, at));
        say("=");
        say_bytes(strait_header_value(record, at));
        say(";");
    }
    strait_add_header(record, strait_text("seen"), (strait_bytes){(const uint8_t *)seen, seen_len});
}

void plugin_on_record(strait_record *record) {
    strait_bytes what = {0}, null = {0};
    warmed += strait_is_warm_up(record);
    if (strait_header_count(record)) what = strait_header_value(record, 0);
    if (strait_equal(what, "see")) see(record);
    if (strait_equal(what, "key")) strait_set_value(record, strait_key(record));
    if (strait_equal(what, "drop")) strait_drop(record);
    if (strait_equal(what, "reject")) strait_reject(record, "worse", strait_text("why"));
    if (strait_equal(what, "reject, by rule")) strait_reject_of(record, 0, "odd", strait_text("why"));
    if (strait_equal(what, "reject, unknown")) strait_reject(record, "unknown", strait_text(""));
    if (strait_equal(what, "field, unknown")) strait_set_field(record, 3, 0, strait_text("1"));
    if (strait_equal(what, "header, unknown")) strait_set_header(record, 9, null);
    if (strait_equal(what, "remove, unknown")) strait_remove_header(record, 9);
    if (strait_equal(what, "insert, unknown")) strait_insert_field(record, 9, strait_text("1"));
    if (strait_equal(what, "count")) strait_count(1, 1);
    if (strait_equal(what, "count, unknown")) strait_count(2, 1);
    if (strait_equal(what, "parts")) {
        strait_set_key(record, strait_text("k2"));
        strait_set_value(record, strait_text("v2"));
        strait_set_header(record, 1, strait_text("x"));
        strait_add_header(record, strait_text("more"), null);
        strait_add_header(record, strait_text("most"), strait_text("m"));
        strait_set_timestamp_ms(record, 5);
        strait_set_topic(record, strait_text("elsewhere"));
        strait_partition_by(record, strait_text("p"));
    }
    if (strait_equal(what, "partition")) {
        strait_set_key(record, null);
        strait_remove_header(record, 1);
        strait_set_partition(record, 0);
    }
    if (strait_equal(what, "fields")) {
        strait_set_field(record, LIST, 0, strait_text("\"new\""));
        strait_set_field(record, LIST, 1, null);
        strait_insert_field(record, ABSENT, strait_text("{}"));
    }
    if (strait_equal(what, "copies")) {
        strait_set_key(record, strait_text("one"));
        strait_emit(record);
        strait_set_value(record, null);
        strait_emit(record);
        strait_drop(record);
    }
}

void plugin_end_batch(void) {
    ended++;
    strait_count(0, 1);
}
