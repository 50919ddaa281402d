/* Runs without Wasm: cc -I sdk -o build/test plugin_test.c plugin.c sdk/strait_test.c && build/test */
#include "strait_test.h"

#include <stdio.h>
#include <string.h>

int main(void) {
    const char *wrong = strait_test_open("{}", "orders");
    const strait_test_field fields[] = {{0, "\"a@example.com\"", NULL}, {1, "\"eu\"", NULL}, {0, NULL, NULL}};
    const strait_test_record records[] = {{.key = "test-1"}, {.key = "customer-1", .value = "{}", .fields = fields}};
    const char *edits = wrong ? wrong : strait_test_process(0, records, 2);
    if (!strcmp(edits, "0 drop\n1 field 0 = \"***\"\n1 topic = orders-eu")) return 0;
    fprintf(stderr, "unexpected: %s\n", edits);
    return 1;
}
