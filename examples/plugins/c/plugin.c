/* Drops test orders, redacts the customer's e-mail, routes by region. */
#include "strait.h"

/* Indexes of the requested fields in `fields`. */
enum { EMAIL, REGION };

static const uint32_t EFFECTS = STRAIT_DROP | STRAIT_FIELD | STRAIT_TOPIC;
static strait_bytes test_prefix;

void plugin_describe(strait_about *about) {
    about->name = "tidy-orders";
    about->version = "0.1.0";
    about->description = "Drops test orders, redacts the customer's e-mail, routes by region";
    about->effects = EFFECTS;
    /* A plugin that redacts must not pass what it cannot read. */
    about->fails_closed = true;
    about->config_schema = "{\"type\":\"object\",\"additionalProperties\":false,"
                           "\"properties\":{\"test_prefix\":{\"type\":\"string\",\"minLength\":1}}}";
}

const char *plugin_configure(strait_bytes config, const strait_link *link, const char **path) {
    (void)link, (void)path;
    test_prefix = strait_config_text(config, "test_prefix");
    if (!test_prefix.data) test_prefix = strait_text("test-");
    return NULL;
}

bool plugin_open_topic(strait_bytes topic, uint32_t partitions, strait_plan *plan) {
    static const char *const fields[] = {"$.customer.email", "$.region", NULL};
    static const char *const output_topics[] = {"orders-eu", "orders-us", NULL};
    (void)partitions;
    if (!strait_starts_with(topic, strait_text("orders"))) return false;
    plan->needs = (strait_needs){
        .see = STRAIT_SEE_KEY,
        .fields = fields,
        .effects = EFFECTS,
        .output_topics = output_topics,
    };
    return true;
}

void plugin_on_record(strait_record *record) {
    if (strait_starts_with(strait_key(record), test_prefix)) {
        strait_drop(record);
        return;
    }
    for (uint32_t nth = 0; nth < strait_field_count(record, EMAIL); nth++)
        strait_set_field(record, EMAIL, nth, strait_text("\"***\""));
    if (strait_field_count(record, REGION) == 0) return;
    /* The field is JSON text, with its quotes. */
    strait_bytes region = strait_field(record, REGION, 0);
    if (strait_equal(region, "\"eu\"")) strait_set_topic(record, strait_text("orders-eu"));
    if (strait_equal(region, "\"us\"")) strait_set_topic(record, strait_text("orders-us"));
}
