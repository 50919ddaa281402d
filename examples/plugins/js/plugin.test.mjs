// Runs without Wasm: node --import ./sdk/testing.mjs --test

import assert from "node:assert/strict";
import { test } from "node:test";

import { transform } from "./plugin.js";
import { Tester } from "./sdk/testing.mjs";

test("test orders are dropped, e-mails redacted", () => {
  const fields = [[0, '"a@example.com"'], [1, '"\\u0065u"']];
  const edits = new Tester(transform, {}).process({ key: "test-1" }, { key: "customer-1", value: "{}", fields });
  assert.deepEqual(edits, ["0 drop", '1 field 0 = "***"', "1 topic = orders-eu"]);
});
