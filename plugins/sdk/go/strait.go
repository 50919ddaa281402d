// Package strait is for writing Strait plugins in Go.
//
// A plugin implements Plugin and is named in an init function: strait.Export(&MyPlugin{}). The host calls it once per batch;
// this package turns that into one call of OnRecord per record and collects the answers. Nothing but what Needs names crosses
// the boundary. The layout of columns and edits is that of plugin.wit.
//
// There is no system below a plugin: no files, no network, no environment, and a clock that only counts. Take the time from
// Record.TimestampMs.
package strait

import (
	"encoding/binary"
	"encoding/json"
)

// What a plugin may do: bits of About.Effects and Needs.Effects.
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

// About holds fixed facts about a plugin.
type About struct {
	Name, Version, Description string
	// ConfigSchema is a JSON Schema; the host checks the configuration before Configure. Empty allows an empty object.
	ConfigSchema string
	// Effects is the most that this plugin can ever do.
	Effects uint32
	// FailsClosed is true for a redactor: a record that it could not judge must not pass.
	FailsClosed bool
	// Counters are names for Count, RejectCodes for Reject.
	Counters, RejectCodes []string
}

// Link is the link that a plugin works on. An unknown region is empty.
type Link struct {
	Link, Source, SourceRegion, Target, TargetRegion string
}

// ConfigError is a mistake in the configuration: a JSON Pointer into it, and a message.
type ConfigError struct{ Path, Message string }

func (e *ConfigError) Error() string { return e.Path + ": " + e.Message }

// Needs is what a plugin wants to see of a topic and may do to it. What is not asked for is not delivered.
type Needs struct {
	Effects                                   uint32
	Offset, Timestamp, Key, Value, ValueState bool
	// Fields are JSONPaths (RFC 9535) made of names, indexes, [*] and ..name.
	Fields []string
	// Headers are delivered by name, or all of them.
	Headers    []string
	AllHeaders bool
	// OutputTopics are full-match regular expressions of the topics that Change.Topic may name.
	OutputTopics []string
	// ValueMaxBytes: records with a longer value are not shown: rejected where the plugin fails closed, else passed.
	ValueMaxBytes uint32
	// Lookback makes this a plugin with memory: one object per partition, which is shown this much of the log before it judges.
	Lookback *Lookback
}

// Lookback is how much of a partition's log a plugin has to have seen to judge a record: at most Records offsets before it, from 1
// to 10,000,000, and not older than it by more than Millis milliseconds, where that is not 0.
type Lookback struct {
	Records uint32
	Millis  uint64
}

// TopicPlan is what a plugin does with a topic. Without Needs it never sees its records, which costs nothing.
type TopicPlan struct {
	// Name renames the topic; empty keeps the name.
	Name  string
	Needs *Needs
}

// Plugin is implemented by plugins: one object per link and lane.
type Plugin interface {
	About() About
	// Configure gets the configuration as JSON, secrets resolved. A *ConfigError says where it is wrong.
	Configure(config []byte, link Link) error
	// OpenTopic is called once per topic; the answer must depend on nothing but the configuration and the topic.
	OpenTopic(topic string, partitions uint32) (TopicPlan, error)
	// OnRecord judges one record: nil passes it, else Drop, Reject or a *Change. The record is good until it returns.
	OnRecord(record *Record) Action
}

// Action is what becomes of a record.
type Action interface {
	write(record uint32, edits *edits)
}

type drop struct{}

// Drop leaves the record out.
var Drop Action = drop{}

func (drop) write(record uint32, edits *edits) { edits.op(record, 0, 0, 0) }

type reject struct {
	code   uint32
	reason string
}

// Reject refuses the record: it goes to quarantine at the source. The code is an index in About.RejectCodes; the reason is for
// the operator and holds no personal data.
func Reject(code uint32, reason string) Action { return reject{code, reason} }

func (r reject) write(record uint32, edits *edits) {
	edits.op(record, 13, r.code, uint32(len(r.reason)))
	edits.data = append(edits.data, r.reason...)
}

const null = 0xffffffff

// Change holds changes to one record, in order; what they do not name stays. nil is null.
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

// Field replaces a field, one of Record.Fields, by JSON text.
func (c *Change) Field(field Field, text []byte) *Change { return c.add(3, field.Occurrence, text) }

// RemoveField removes a field: the member with its name, or the element of the array.
func (c *Change) RemoveField(field Field) *Change { return c.add(3, field.Occurrence, nil) }

// InsertField inserts the field of this index in Needs.Fields where it is absent; its parent must exist.
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

// PartitionBy sends the record to the partition that Kafka's default partitioner picks for these bytes.
func (c *Change) PartitionBy(data []byte) *Change { return c.add(12, 0, append(empty, data...)) }

// Emit sends the record as changed so far; what follows starts again from the original, which goes out too unless
// DropOriginal ends the change.
func (c *Change) Emit() *Change { return c.add(14, 0, empty) }

// DropOriginal leaves the original out, after what Emit sent. Nothing may follow.
func (c *Change) DropOriginal() *Change { return c.add(0, 0, empty) }

type edits struct {
	ops  []uint32
	data []byte
}

func (e *edits) op(record, op, arg, length uint32) { e.ops = append(e.ops, record, op, arg, length) }

// Field is a place in the value where a path of Needs.Fields matched.
type Field struct {
	// Occurrence is its number among all fields of the record.
	Occurrence uint32
	// JSON text, numbers and escapes as they are written.
	JSON []byte
}

// Text gives the text of a JSON string; false for anything else.
func (f Field) Text() (string, bool) {
	if len(f.JSON) == 0 || f.JSON[0] != '"' {
		return "", false
	}
	var text string
	err := json.Unmarshal(f.JSON, &text)
	return text, err == nil
}

// Header is one header of a record; a nil value is null.
type Header struct{ Name, Value []byte }
