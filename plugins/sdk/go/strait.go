// Package strait is the SDK for Strait plugins in Go.
//
// A plugin implements Plugin and is exported in an init function: strait.Export(&MyPlugin{}). The
// host calls it once per batch; this package turns that into one call of OnRecord per record and
// collects the results. Only what Needs requests is copied into the guest. plugin.wit defines the
// layout of columns and edits.
//
// A plugin runs without an operating system: no files, no network, no environment, and a clock that
// only counts. Take the time from Record.TimestampMs.
package strait

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
)

// Effects of a plugin: bits of About.Effects and Needs.Effects.
const (
	EffectDrop uint32 = 1 << iota
	EffectKey
	EffectValue
	EffectField
	EffectHeader
	EffectTimestamp
	EffectTopic
	EffectPartition
	EffectEmit
	EffectReject
)

// About is the description of a plugin, independent of any configuration.
type About struct {
	Name, Version, Description string
	// ConfigSchema is a JSON Schema. The host validates the configuration before Configure. Empty
	// allows an empty object.
	ConfigSchema string
	// Effects is the most that this plugin can ever do.
	Effects uint32
	// FailsClosed: a record that the plugin could not judge must not pass. Set it for a redactor.
	FailsClosed bool
	// RejectCodes are the codes for Reject.
	RejectCodes []string
}

// Counter is a counter, for Count.
type Counter struct {
	Name string
	// Rule is the rule that it is of, by the operator's name for it; empty for the whole plugin.
	Rule string
	// Expected: Strait reports it if nothing is ever counted (event rule_silent).
	Expected bool
}

// Link is the link that the plugin runs on. An unknown region is empty.
type Link struct {
	Link, Source, SourceRegion, Target, TargetRegion string
	// DemandsResidency: the operator demands that whatever cannot be judged stays where it is, so a
	// plugin of several behaviours takes the strictest one by default.
	DemandsResidency bool
}

// ConfigError is a mistake in the configuration: a JSON Pointer into it, and a message.
type ConfigError struct{ Path, Message string }

func (e *ConfigError) Error() string { return e.Path + ": " + e.Message }

// Needs are the parts of a topic's records that a plugin reads, and the effects it uses. Nothing
// else is delivered.
type Needs struct {
	Effects                                   uint32
	Offset, Timestamp, Key, Value, ValueState bool
	TimestampType, Origin                     bool
	// Fields are JSONPaths (RFC 9535) with names, indexes, [*] and ..name.
	Fields []string
	// FieldPointers requests Field.Pointer.
	FieldPointers bool
	// Headers are delivered by name, or all of them.
	Headers    []string
	AllHeaders bool
	// OutputTopics are the topics that Change.Topic may use: regular expressions that match the
	// whole name.
	OutputTopics []string
	// ValueMaxBytes is the largest value to pass to the plugin; 0 is no limit. A record with a
	// larger one is rejected if the plugin fails closed, and otherwise passed on without it.
	ValueMaxBytes uint32
	// Lookback makes the plugin stateful: one object per partition, warmed up with this much of the
	// log before it judges.
	Lookback *Lookback
}

func (n *Needs) columns() []uint32 {
	var columns []uint32
	add := func(wanted bool, numbers ...uint32) {
		if wanted {
			columns = append(columns, numbers...)
		}
	}
	add(n.Offset, 1)
	add(n.Timestamp, 2)
	add(n.Key, 3, 4)
	add(n.Value, 5, 6)
	add(n.ValueState, 7)
	add(len(n.Fields) > 0, 8, 9, 10)
	add(n.FieldPointers, 11)
	add(n.AllHeaders || len(n.Headers) > 0, 12, 13, 14, 15, 16)
	add(n.TimestampType, 17)
	add(n.Origin, 18)
	return columns
}

// Lookback is how much of a partition's log a stateful plugin must see before it can judge a
// record: at most Records offsets (1 to 10,000,000) and, if Millis is not 0, at most that age in
// milliseconds.
type Lookback struct {
	Records uint32
	Millis  uint64
}

// TopicPlan is the plan of a plugin for one topic. Without Needs it never sees the topic's records,
// which costs nothing.
type TopicPlan struct {
	// Name renames the topic; empty keeps the name.
	Name  string
	Needs *Needs
	// Protects claims what the plugin leaves of parts of the topic's records: a JSON array as
	// plugin.wit describes it. Each claim must be true of every record that the plugin lets pass.
	Protects string
	// LenientShapes has values count as parsed in which the path of a field meets something that it
	// cannot step into. Without it they have the state WrongShape.
	LenientShapes bool
}

// Plugin is the interface of a plugin. There is one object per lane, or one per partition if it is
// stateful.
type Plugin interface {
	About() About
	// Configure gets the configuration as JSON with secrets resolved. A *ConfigError has the place
	// of the mistake.
	Configure(config []byte, link Link) error
	// OpenTopic is called once per topic. The result must depend only on the configuration and the
	// topic.
	OpenTopic(topic string, partitions uint32) (TopicPlan, error)
	// OnRecord judges one record and returns nil to pass it, or Drop, Reject or a *Change. The
	// record is valid until it returns.
	OnRecord(record *Record) Action
}

// Counting is a plugin with counters. Counters is called once, after Configure.
type Counting interface{ Counters() []Counter }

// BatchEnding is a plugin that is told of the end of each batch. Use it to Count sums, because a
// call of the host costs more than a record.
type BatchEnding interface{ EndBatch() }

// The plugin of this module, and its codes for Reject.
var (
	plugin      Plugin
	rejectCodes []string
)

// Export sets the plugin of this module. Call it in an init function.
func Export(p Plugin) { plugin, rejectCodes = p, p.About().RejectCodes }

// Level is the level of a log message.
type Level uint32

// Levels.
const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
)

// Action is the outcome for a record.
type Action interface {
	write(record uint32, edits *edits)
}

type drop struct{}

// Drop drops the record.
var Drop Action = drop{}

func (drop) write(record uint32, edits *edits) { edits.op(record, 0, 0, 0) }

type reject struct {
	code, reason string
	// A counter of the rule that rejects; less than 0 for none.
	counter int64
}

// Reject rejects the record: it goes to quarantine on the source. The code is one of
// About.RejectCodes. The reason is for the operator and must not contain personal data.
func Reject(code, reason string) Action { return reject{code, reason, -1} }

// RejectOf is Reject by a rule: that of a counter, by its index in Counting.Counters. Its name goes
// into the books of quarantine.
func RejectOf(counter uint32, code, reason string) Action { return reject{code, reason, int64(counter)} }

func (r reject) write(record uint32, edits *edits) {
	code := slices.Index(rejectCodes, r.code)
	if code < 0 {
		panic(fmt.Sprintf("%q is not one of the plugin's RejectCodes", r.code))
	}
	if r.counter >= 0 {
		edits.op(record, 15, uint32(r.counter), 0)
	}
	edits.op(record, 13, uint32(code), uint32(len(r.reason)))
	edits.data = append(edits.data, r.reason...)
}

const null = 0xffffffff

// Change holds changes to one record, in order. Parts that no change names stay as they are. nil is
// null.
type Change struct{ edits edits }

func (c *Change) write(record uint32, edits *edits) {
	for at := 0; at < len(c.edits.ops); at += 4 {
		ops := c.edits.ops[at:]
		edits.op(record, ops[1], ops[2], ops[3])
	}
	edits.data = append(edits.data, c.edits.data...)
}

func (c *Change) add(op, arg uint32, data []byte) *Change {
	length := uint32(null)
	if data != nil {
		length = uint32(len(data))
	}
	c.edits.op(0, op, arg, length)
	c.edits.data = append(c.edits.data, data...)
	return c
}

var empty = []byte{}

// Key sets the key.
func (c *Change) Key(key []byte) *Change { return c.add(1, 0, key) }

// Value sets the value; nil makes a tombstone. Excludes field edits of this record.
func (c *Change) Value(value []byte) *Change { return c.add(2, 0, value) }

// Field replaces a field, one of Record.Fields, with JSON text.
func (c *Change) Field(field Field, text []byte) *Change { return c.add(3, field.Occurrence, text) }

// RemoveField removes a field: the member with its name, or the element of the array.
func (c *Change) RemoveField(field Field) *Change { return c.add(3, field.Occurrence, nil) }

// InsertField inserts a missing field, by its index in Needs.Fields. Its parent must exist.
func (c *Change) InsertField(field uint32, text []byte) *Change { return c.add(4, field, text) }

// Header sets the value of a header, by its index in Record.Headers.
func (c *Change) Header(index uint32, value []byte) *Change { return c.add(5, index, value) }

// RemoveHeader removes a header, by its index in Record.Headers.
func (c *Change) RemoveHeader(index uint32) *Change { return c.add(6, index, empty) }

// AddHeader appends a header.
func (c *Change) AddHeader(name string, value []byte) *Change {
	if value == nil {
		return c.add(8, 0, []byte(name))
	}
	return c.add(7, uint32(len(name)), append([]byte(name), value...))
}

// TimestampMs sets the timestamp, in milliseconds since the Unix epoch.
func (c *Change) TimestampMs(timestamp int64) *Change {
	return c.add(9, 0, binary.LittleEndian.AppendUint64(nil, uint64(timestamp)))
}

// Topic sends the record to a topic that Needs.OutputTopics allows. The partition follows the key.
func (c *Change) Topic(topic string) *Change { return c.add(10, 0, []byte(topic)) }

// Partition sends the record to this partition.
func (c *Change) Partition(partition uint32) *Change { return c.add(11, partition, empty) }

// PartitionBy sends the record to the partition that Kafka's default partitioner picks for these
// bytes.
func (c *Change) PartitionBy(data []byte) *Change { return c.add(12, 0, append(empty, data...)) }

// Emit sends a copy with the changes so far. Further changes start again from the original, which
// is sent too unless DropOriginal ends the change.
func (c *Change) Emit() *Change { return c.add(14, 0, empty) }

// DropOriginal drops the original after the copies that Emit sent. It must be the last change.
func (c *Change) DropOriginal() *Change { return c.add(0, 0, empty) }

type edits struct {
	ops  []uint32
	data []byte
}

func (e *edits) op(record, op, arg, length uint32) { e.ops = append(e.ops, record, op, arg, length) }

// Field is a place in the value where a path of Needs.Fields matched.
type Field struct {
	// Occurrence is the number among all fields of the record.
	Occurrence uint32
	// JSON text, with numbers and escapes as written.
	JSON []byte
	// Pointer is a JSON Pointer; nil without Needs.FieldPointers.
	Pointer []byte
}

// Text returns the text of a JSON string, or false for any other type.
func (f Field) Text() (string, bool) {
	if len(f.JSON) == 0 || f.JSON[0] != '"' {
		return "", false
	}
	var text string
	err := json.Unmarshal(f.JSON, &text)
	return text, err == nil
}

// Header is a header of a record. A nil value is null.
type Header struct{ Name, Value []byte }
