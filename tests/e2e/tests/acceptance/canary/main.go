// Says all that it knows: in a panic, in its log and in a reject, by the record's value.
package main

import (
	"bytes"
	"fmt"

	strait "told-go/sdk"
)

type canary struct{ config []byte }

func (*canary) About() strait.About {
	return strait.About{
		Name:         "told-go",
		Version:      "0.1.0",
		ConfigSchema: `{ "type": "object", "properties": { "secret": { "type": "string" } } }`,
		Effects:      strait.EffectReject,
		RejectCodes:  []string{"refused"},
	}
}

func (p *canary) Configure(config []byte, _ strait.Link) error {
	p.config = bytes.Clone(config)
	if bytes.Contains(config, []byte("refuse")) {
		panic(fmt.Sprintf("canary-said %s", config))
	}
	return nil
}

func (*canary) OpenTopic(string, uint32) (strait.TopicPlan, error) {
	return strait.TopicPlan{Needs: &strait.Needs{Key: true, Value: true, Effects: strait.EffectReject}}, nil
}

func (p *canary) OnRecord(record *strait.Record) strait.Action {
	text := fmt.Sprintf("canary-said %s %s %s", p.config, record.Key(), record.Value())
	if bytes.Contains(record.Value(), []byte("raise")) {
		panic(text)
	}
	strait.Log(strait.Error, text)
	if bytes.Contains(record.Value(), []byte("reject")) {
		return strait.Reject("refused", text)
	}
	return nil
}

func init() { strait.Export(&canary{}) }

func main() {}
