// Drops test orders, redacts the customer's e-mail, routes by region.
package main

import (
	"bytes"
	"encoding/json"
	"strings"

	strait "tidy-orders/sdk"
)

// Indexes of the requested fields in Needs.
const (
	email = iota
	region
)

const effects = strait.EffectDrop | strait.EffectField | strait.EffectTopic

type tidyOrders struct {
	testPrefix []byte
}

func (*tidyOrders) About() strait.About {
	return strait.About{
		Name:        "tidy-orders",
		Version:     "0.1.0",
		Description: "Drops test orders, redacts the customer's e-mail, routes by region",
		ConfigSchema: `{
			"type": "object",
			"properties": { "test_prefix": { "type": "string", "minLength": 1 } },
			"additionalProperties": false
		}`,
		Effects: effects,
		// A plugin that redacts must not pass what it cannot read.
		FailsClosed: true,
	}
}

func (p *tidyOrders) Configure(config []byte, _ strait.Link) error {
	settings := struct {
		TestPrefix string `json:"test_prefix"`
	}{TestPrefix: "test-"}
	if err := json.Unmarshal(config, &settings); err != nil {
		return &strait.ConfigError{Message: err.Error()}
	}
	p.testPrefix = []byte(settings.TestPrefix)
	return nil
}

func (*tidyOrders) OpenTopic(topic string, _ uint32) (strait.TopicPlan, error) {
	if !strings.HasPrefix(topic, "orders") {
		return strait.TopicPlan{}, nil
	}
	return strait.TopicPlan{Needs: &strait.Needs{
		Key:          true,
		Fields:       []string{"$.customer.email", "$.region"},
		Effects:      effects,
		OutputTopics: []string{"orders-eu", "orders-us"},
	}}, nil
}

func (p *tidyOrders) OnRecord(record *strait.Record) strait.Action {
	if bytes.HasPrefix(record.Key(), p.testPrefix) {
		return strait.Drop
	}
	change := &strait.Change{}
	for _, field := range record.Fields(email) {
		change.Field(field, []byte(`"***"`))
	}
	switch text, _ := record.FieldText(region); text {
	case "eu":
		change.Topic("orders-eu")
	case "us":
		change.Topic("orders-us")
	}
	return change
}

func init() { strait.Export(&tidyOrders{}) }

func main() {}
