//go:build !wasip1

package strait

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Runs a plugin without Wasm and without a host, for `go test`: records in, edits out. Columns are
// packed by the layout in plugin.wit, as far as the plugin's Needs request them. Fields are given
// with each record, because finding them in a value is the host's work.

// Logs and Counts hold what plugins have said since the process began.
var (
	Logs   []string
	Counts []uint64
)

// Log writes to Strait's log; in tests to Logs.
func Log(level Level, message string) { Logs = append(Logs, message) }

// Count adds to a counter; in tests in Counts.
func Count(counter uint32, delta uint64) {
	for len(Counts) <= int(counter) {
		Counts = append(Counts, 0)
	}
	Counts[counter] += delta
}

// TestField is a place where the path at an index of Needs.Fields matches.
type TestField struct {
	Path          int
	JSON, Pointer string
}

// TestRecord is a record to pass to a plugin. Fields are in the order of their paths.
type TestRecord struct {
	Key, Value  []byte
	State       ValueState
	TimestampMs int64
	Headers     []Header
	Fields      []TestField
}

// Tester runs a configured plugin, on a link from `aws` in `eu-west-1` to `gcp`.
type Tester struct {
	// Mode is the mode of the following batches: 1 warm-up, 2 second try.
	Mode   uint32
	plugin Plugin
	needs  Needs
	topic  string
	offset uint64
}

// NewTester configures the plugin and opens the topic `orders` with six partitions.
func NewTester(p Plugin, config string) (*Tester, error) {
	rejectCodes = p.About().RejectCodes
	tester := &Tester{plugin: p, offset: 100}
	link := Link{Link: "aws-to-gcp", Source: "aws", SourceRegion: "eu-west-1", Target: "gcp"}
	if err := p.Configure([]byte(config), link); err != nil {
		return nil, err
	}
	_, err := tester.Open("orders", 6)
	return tester, err
}

// Open opens a topic for the following records, and returns its plan.
func (t *Tester) Open(topic string, partitions uint32) (TopicPlan, error) {
	plan, err := t.plugin.OpenTopic(topic, partitions)
	t.topic, t.needs = topic, Needs{}
	if plan.Needs != nil {
		t.needs = *plan.Needs
	}
	return plan, err
}

// Process passes the records in one batch. It returns one line per edit, such as
// `2 field 0 = "***"`: the record's index, the operation, the argument, the bytes.
func (t *Tester) Process(records ...TestRecord) (lines []string, err error) {
	defer func() {
		if broken := recover(); broken != nil {
			err = fmt.Errorf("panic: %v", broken)
		}
	}()
	record := &Record{topic: t.topic, partition: 3, baseOffset: t.offset, mode: t.Mode, origins: []string{"aws"}}
	t.offset += uint64(len(records))
	for _, number := range t.needs.columns() {
		record.column[number] = pack(number, len(t.needs.Fields), records)
	}
	var made edits
	judge(t.plugin, record, uint32(len(records)), &made)
	return describeEdits(&made)
}

func pack(number uint32, paths int, records []TestRecord) []byte {
	column := []byte{}
	length := func(data []byte) {
		size := -1
		if data != nil {
			size = len(data)
		}
		column = binary.LittleEndian.AppendUint32(column, uint32(int32(size)))
	}
	for index, record := range records {
		switch number {
		case 1:
			column = binary.LittleEndian.AppendUint32(column, uint32(index))
		case 2:
			column = binary.LittleEndian.AppendUint64(column, uint64(record.TimestampMs))
		case 3:
			length(record.Key)
		case 4:
			column = append(column, record.Key...)
		case 5:
			length(record.Value)
		case 6:
			column = append(column, record.Value...)
		case 7:
			if record.Value == nil && record.State == Parsed {
				record.State = Null
			}
			column = append(column, byte(record.State))
		case 8:
			counts := make([]uint32, paths)
			for _, field := range record.Fields {
				counts[field.Path]++
			}
			for _, count := range counts {
				column = binary.LittleEndian.AppendUint32(column, count)
			}
		case 12:
			column = binary.LittleEndian.AppendUint32(column, uint32(len(record.Headers)))
		case 17:
			column = append(column, 0)
		case 18:
			column = append(column, 0, 0, 0, 0)
		}
		for _, field := range record.Fields {
			switch number {
			case 9:
				length([]byte(field.JSON))
			case 10:
				column = append(column, field.JSON...)
			case 11:
				length([]byte(field.Pointer))
			}
		}
		for _, header := range record.Headers {
			switch number {
			case 13:
				length(header.Name)
			case 14:
				column = append(column, header.Name...)
			case 15:
				length(header.Value)
			case 16:
				column = append(column, header.Value...)
			}
		}
	}
	if number == 11 {
		for _, record := range records {
			for _, field := range record.Fields {
				column = append(column, field.Pointer...)
			}
		}
	}
	return column
}

func describeEdits(made *edits) ([]string, error) {
	names := []string{"drop", "key", "value", "field", "insert", "header", "remove header", "add header",
		"add null header", "timestamp", "topic", "partition", "partition by", "reject", "emit", "rule"}
	var lines []string
	data := made.data
	for ops := range slices.Chunk(made.ops, 4) {
		op, arg, length := ops[1], ops[2], ops[3]
		line := fmt.Sprintf("%d %s", ops[0], names[op])
		if op >= 3 && op <= 7 || op == 11 || op == 13 || op == 15 {
			line += fmt.Sprintf(" %d", arg)
		}
		if length == null {
			lines = append(lines, line+" = null")
			continue
		}
		if int(length) > len(data) {
			return nil, errors.New("the bytes of an edit are missing")
		}
		switch op {
		case 0, 6, 11, 14, 15:
		case 9:
			line += fmt.Sprintf(" = %d", int64(binary.LittleEndian.Uint64(data)))
		default:
			line += fmt.Sprintf(" = %s", data[:length])
		}
		lines, data = append(lines, line), data[length:]
	}
	return lines, nil
}
