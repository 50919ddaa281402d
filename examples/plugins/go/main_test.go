package main

import (
	"slices"
	"testing"

	strait "tidy-orders/sdk"
)

// Runs without Wasm: go test
func TestOrders(t *testing.T) {
	tester, err := strait.NewTester(&tidyOrders{}, `{}`)
	if err != nil {
		t.Fatal(err)
	}
	edits, err := tester.Process(
		strait.TestRecord{Key: []byte("test-1")},
		strait.TestRecord{Key: []byte("customer-1"), Value: []byte("{}"), Fields: []strait.TestField{
			{Path: email, JSON: `"a@example.com"`},
			{Path: region, JSON: `"\u0065u"`},
		}},
	)
	if err != nil || !slices.Equal(edits, []string{"0 drop", `1 field 0 = "***"`, "1 topic = orders-eu"}) {
		t.Fatal(edits, err)
	}
}
