package strait

import (
	"encoding/binary"
	"fmt"
)

const columns = 19

// Record is a record, with the parts that the plugin requested. Access to a part that Needs did not
// request panics, because returning nil would be wrong. The bytes belong to the host: copy what
// must outlive OnRecord.
type Record struct {
	topic      string
	partition  uint32
	index      uint32
	mode       uint32
	baseOffset uint64
	origins    []string
	column     [columns][]byte
	fieldCount int
	// Start of this record's bytes, occurrences and headers.
	key, value, occurrence, field, header, headerName, headerValue int
}

// Topic returns the source topic, or the name that an earlier plugin of the chain gave it.
func (r *Record) Topic() string { return r.topic }

// Partition returns the source partition.
func (r *Record) Partition() uint32 { return r.partition }

// IsWarmUp returns whether the record is part of a warm-up: what the plugin makes of it is not
// sent.
func (r *Record) IsWarmUp() bool { return r.mode&1 != 0 }

// IsSecondTry returns whether this is a retry, because an earlier call with the record failed.
func (r *Record) IsSecondTry() bool { return r.mode&2 != 0 }

// Offset returns the source offset. Needs Offset.
func (r *Record) Offset() uint64 { return r.baseOffset + uint64(r.u32(1, int(r.index))) }

// TimestampMs returns the timestamp in milliseconds since the Unix epoch, or -1 if there is none.
// Needs Timestamp.
func (r *Record) TimestampMs() int64 {
	return int64(binary.LittleEndian.Uint64(r.bytes(2)[8*r.index:]))
}

// TimestampIsAppendTime returns whether the source broker set the timestamp. Needs TimestampType.
func (r *Record) TimestampIsAppendTime() bool { return r.bytes(17)[r.index] == 1 }

// Origin returns the cluster where the record was produced, or "" if it is not known. Needs Origin.
func (r *Record) Origin() string {
	at := int(r.u32(18, int(r.index)))
	if at >= len(r.origins) {
		return ""
	}
	return r.origins[at]
}

// Key returns the key, or nil for a null key. Needs Key.
func (r *Record) Key() []byte { return r.run(3, 4, int(r.index), r.key) }

// Value returns the value, or nil for a tombstone. Needs Value.
func (r *Record) Value() []byte { return r.run(5, 6, int(r.index), r.value) }

// ValueState is the state of a value as a document.
type ValueState uint8

// States of a value.
const (
	Parsed ValueState = iota
	Null
	Empty
	NotJSON
	NotUTF8
	TrailingBytes
	NameTwice
	TooLarge
	WrongShape
	NoSchema
	OtherSchema
	Sealed
)

// IsJudged returns whether the fields can be trusted, or there is no value. Any other state means
// that the value was not judged, one that this SDK does not know too.
func (s ValueState) IsJudged() bool { return s == Parsed || s == Null }

// ValueState returns the state of the value as a document. Needs ValueState.
func (r *Record) ValueState() ValueState { return ValueState(r.bytes(7)[r.index]) }

// Fields returns every place where the path at an index of Needs.Fields matches. It panics if there
// is no path at this index: the places of another record would follow.
func (r *Record) Fields(field int) []Field {
	if field < 0 || field >= r.fieldCount {
		panic(fmt.Sprintf("field %d is read, and Needs.Fields of this topic names %d", field, r.fieldCount))
	}
	var found []Field
	at, start, occurrence := r.occurrence, r.field, uint32(0)
	for index := 0; index <= field; index++ {
		for count := r.u32(8, int(r.index)*r.fieldCount+index); count > 0; count-- {
			if index == field {
				found = append(found, Field{occurrence, r.run(9, 10, at, start), r.pointer(at)})
			}
			start += r.length(9, at)
			at++
			occurrence++
		}
	}
	return found
}

// pointer returns the location of an occurrence. The column has all lengths of the batch, then all
// bytes.
func (r *Record) pointer(at int) []byte {
	if r.column[11] == nil {
		return nil
	}
	start := len(r.column[9])
	for before := 0; before < at; before++ {
		start += r.length(11, before)
	}
	return r.bytes(11)[start : start+r.length(11, at)]
}

// FieldText returns the text of the first place where the path matches, or false if there is none
// or it is not a JSON string.
func (r *Record) FieldText(field int) (string, bool) {
	fields := r.Fields(field)
	if len(fields) == 0 {
		return "", false
	}
	return fields[0].Text()
}

// Headers returns the declared headers, or all of them, in their order.
func (r *Record) Headers() []Header {
	count := int(r.u32(12, int(r.index)))
	headers := make([]Header, 0, count)
	name, value := r.headerName, r.headerValue
	for at := r.header; at < r.header+count; at++ {
		headers = append(headers, Header{r.run(13, 14, at, name), r.run(15, 16, at, value)})
		name += r.length(13, at)
		value += r.length(15, at)
	}
	return headers
}

func (r *Record) bytes(number int) []byte {
	column := r.column[number]
	if column == nil {
		panic("the plugin reads a part of the record that its Needs do not request")
	}
	return column
}

func (r *Record) u32(number, at int) uint32 {
	return binary.LittleEndian.Uint32(r.bytes(number)[4*at:])
}

func (r *Record) length(number, at int) int { return max(0, int(int32(r.u32(number, at)))) }

func (r *Record) run(lengths, data, at, start int) []byte {
	length := int(int32(r.u32(lengths, at)))
	if length < 0 {
		return nil
	}
	return r.bytes(data)[start : start+length : start+length]
}

// judge judges a batch.
func judge(plugin Plugin, record *Record, count uint32, edits *edits) {
	if count > 0 {
		record.fieldCount = len(record.column[8]) / 4 / int(count)
	}
	for record.index < count {
		if action := plugin.OnRecord(record); action != nil {
			action.write(record.index, edits)
		}
		record.next()
	}
	if ending, ok := plugin.(BatchEnding); ok {
		ending.EndBatch()
	}
}

// next advances to the next record.
func (r *Record) next() {
	at := int(r.index)
	if r.column[3] != nil {
		r.key += r.length(3, at)
	}
	if r.column[5] != nil {
		r.value += r.length(5, at)
	}
	for field := 0; r.column[8] != nil && field < r.fieldCount; field++ {
		for count := r.u32(8, at*r.fieldCount+field); count > 0; count-- {
			r.field += r.length(9, r.occurrence)
			r.occurrence++
		}
	}
	if r.column[12] != nil {
		for count := r.u32(12, at); count > 0; count-- {
			r.headerName += r.length(13, r.header)
			r.headerValue += r.length(15, r.header)
			r.header++
		}
	}
	r.index++
}
