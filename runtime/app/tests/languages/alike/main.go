// Does what the header "do" of a record says. The same plugin exists in each language.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	strait "alike-go/sdk"
)

const (
	list = iota
	name
	absent
)

const all = 1<<10 - 1

type alike struct {
	Mistake, Failure bool
	Lookback         uint32
	warmed, ended    int
}

func (*alike) About() strait.About {
	return strait.About{
		Name: "alike", Version: "1.0.0", Effects: all, FailsClosed: true, RejectCodes: []string{"odd", "worse"},
		ConfigSchema: `{"type":"object"}`,
	}
}

func (p *alike) Configure(config []byte, _ strait.Link) error {
	p.Lookback = 10
	if err := json.Unmarshal(config, p); err != nil {
		return err
	}
	if p.Mistake {
		return &strait.ConfigError{Path: "/mistake", Message: "as asked"}
	}
	return nil
}

func (*alike) Counters() []strait.Counter {
	return []strait.Counter{{Name: "seen", Rule: "rule-1", Expected: true}, {Name: "ended"}}
}

func (p *alike) OpenTopic(topic string, _ uint32) (strait.TopicPlan, error) {
	if p.Failure {
		return strait.TopicPlan{}, errors.New("as asked")
	}
	if topic == "old" {
		return strait.TopicPlan{Name: "new"}, nil
	}
	if topic == "bare" {
		return strait.TopicPlan{Needs: &strait.Needs{Effects: all, Headers: []string{"do"}}}, nil
	}
	plan := strait.TopicPlan{Needs: &strait.Needs{
		Effects: all, Headers: []string{"do", "note"}, Fields: []string{"$.list[*]", "$.name", "$.absent"},
		FieldPointers: true, OutputTopics: []string{"elsewhere"}, Offset: true, Timestamp: true, TimestampType: true,
		Origin: true, Key: true, Value: true, ValueState: true,
	}}
	if topic == "memory" {
		plan.Needs.Lookback = &strait.Lookback{Records: p.Lookback}
	}
	if topic == "lenient" {
		plan.LenientShapes = true
		plan.Protects = `[{"rule":"all","at":"value$['absent']","leaves":"nothing"}]`
	}
	return plan, nil
}

func (p *alike) OnRecord(record *strait.Record) strait.Action {
	if record.IsWarmUp() {
		p.warmed++
	}
	what := ""
	if headers := record.Headers(); len(headers) > 0 {
		what = string(headers[0].Value)
	}
	change := &strait.Change{}
	switch what {
	case "see":
		return change.AddHeader("seen", []byte(p.seen(record)))
	case "key":
		return change.Value(record.Key())
	case "drop":
		return strait.Drop
	case "reject":
		return strait.Reject("worse", "why")
	case "reject, by rule":
		return strait.RejectOf(0, "odd", "why")
	case "reject, unknown":
		return strait.Reject("unknown", "")
	case "field, unknown":
		return change.Field(record.Fields(3)[0], []byte("1"))
	case "header, unknown":
		return change.Header(9, nil)
	case "remove, unknown":
		return change.RemoveHeader(9)
	case "insert, unknown":
		return change.InsertField(9, []byte("1"))
	case "count":
		strait.Count(1, 1)
	case "count, unknown":
		strait.Count(2, 1)
	case "parts":
		change.Key([]byte("k2")).Value([]byte("v2")).Header(1, []byte("x")).AddHeader("more", nil)
		return change.AddHeader("most", []byte("m")).TimestampMs(5).Topic("elsewhere").PartitionBy([]byte("p"))
	case "partition":
		return change.Key(nil).RemoveHeader(1).Partition(0)
	case "fields":
		places := record.Fields(list)
		return change.Field(places[0], []byte(`"new"`)).RemoveField(places[1]).InsertField(absent, []byte("{}"))
	case "copies":
		return change.Key([]byte("one")).Emit().Value(nil).Emit().DropOriginal()
	}
	return nil
}

func (p *alike) EndBatch() {
	p.ended++
	strait.Count(0, 1)
}

func (p *alike) seen(record *strait.Record) string {
	yes := map[bool]string{true: "yes", false: "no"}
	text := func(data []byte) string {
		if data == nil {
			return "null"
		}
		return string(data)
	}
	var seen strings.Builder
	fmt.Fprintf(&seen, "%s/%d@%d %d append=%s origin=%s warm=%s again=%s judged=%s warmed=%d ended=%d key=%s value=%s list=",
		record.Topic(), record.Partition(), record.Offset(), record.TimestampMs(), yes[record.TimestampIsAppendTime()],
		record.Origin(), yes[record.IsWarmUp()], yes[record.IsSecondTry()], yes[record.ValueState().IsJudged()], p.warmed,
		p.ended, text(record.Key()), text(record.Value()))
	for _, place := range record.Fields(list) {
		fmt.Fprintf(&seen, "%d:%s:%s;", place.Occurrence, place.Pointer, place.JSON)
	}
	told, ok := record.FieldText(name)
	if !ok {
		told = "null"
	}
	fmt.Fprintf(&seen, " name=%s headers=", told)
	for _, header := range record.Headers() {
		fmt.Fprintf(&seen, "%s=%s;", header.Name, text(header.Value))
	}
	return seen.String()
}

func init() { strait.Export(&alike{}) }

func main() {}
