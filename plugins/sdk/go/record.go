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
	baseOffset uint64
	column     [columns][]byte
	fieldCount int
	// Start of this record's bytes, occurrences and headers.
	key, value, occurrence, field, header, headerName, headerValue int
}

// Topic returns the source topic, or the name that an earlier plugin of the chain gave it.
func (r *Record) Topic() string { return r.topic }

// Partition returns the source partition.
func (r *Record) Partition() uint32 { return r.partition }

// Offset returns the source offset. Needs Offset.
func (r *Record) Offset() uint64 { return r.baseOffset + uint64(r.u32(1, int(r.index))) }

// TimestampMs returns the timestamp in milliseconds since the Unix epoch, or -1 if there is none.
// Needs Timestamp.
func (r *Record) TimestampMs() int64 {
	return int64(binary.LittleEndian.Uint64(r.bytes(2)[8*r.index:]))
}

// Key returns the key, or nil for a null key. Needs Key.
func (r *Record) Key() []byte { return r.run(3, 4, int(r.index), r.key) }

// Value returns the value, or nil for a tombstone. Needs Value.
func (r *Record) Value() []byte { return r.run(5, 6, int(r.index), r.value) }

// ValueState returns the state of the value as a document: 0 parsed, 1 null, 2 empty, 3 not JSON, 4
// not UTF-8, 5 BOM or trailing bytes, 6 a name twice, 7 too deep or too large. Needs ValueState.
func (r *Record) ValueState() uint8 { return r.bytes(7)[r.index] }

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
				found = append(found, Field{occurrence, r.run(9, 10, at, start)})
			}
			start += r.length(9, at)
			at++
			occurrence++
		}
	}
	return found
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
