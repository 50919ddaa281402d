//go:build wasip1

package strait

import (
	"errors"
	"fmt"
	"unsafe"
)

// Implements strait:plugin@0.2.0 by the canonical ABI: a component needs only a core module with
// these exports.

var (
	// Memory that the host has lowered into or will lift from. Kept until the call ends, because
	// the host has addresses only.
	lowered [][]byte
	lifted  []any
	answer  edits
)

// Log writes to Strait's log. At most 64 messages of 1 KiB per batch; they appear once the batch is
// accepted.
func Log(level Level, message string) {
	hostLog(uint32(level), unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
}

// Count adds to the counter at an index of Counting.Counters.
func Count(counter uint32, delta uint64) { hostCount(counter, delta) }

//go:wasmimport strait:plugin/host@0.2.0 log
func hostLog(level uint32, text unsafe.Pointer, length uint32)

//go:wasmimport strait:plugin/host@0.2.0 count
func hostCount(counter uint32, delta uint64)

//go:wasmexport cabi_realloc
func realloc(old, oldLen, align, length uint32) uint32 {
	// Go aligns to 8 what has a multiple of 8 bytes.
	piece := make([]byte, max(8, (length+7)/8*8))
	if oldLen > 0 {
		copy(piece, view(old, min(oldLen, length)))
	}
	lowered = append(lowered, piece)
	return address(piece)
}

//go:wasmexport cabi_post_strait:plugin/transform@0.2.0#describe
func postDescribe(uint32) { release() }

//go:wasmexport cabi_post_strait:plugin/transform@0.2.0#configure
func postConfigure(uint32) { release() }

//go:wasmexport cabi_post_strait:plugin/transform@0.2.0#open-topic
func postOpenTopic(uint32) { release() }

//go:wasmexport cabi_post_strait:plugin/transform@0.2.0#process
func postProcess(uint32) { release() }

func release() {
	clear(lowered)
	clear(lifted)
	lowered, lifted = lowered[:0], lifted[:0]
}

//go:wasmexport strait:plugin/transform@0.2.0#describe
func describe() uint32 {
	about := plugin.About()
	if about.ConfigSchema == "" {
		about.ConfigSchema = `{"type":["object","null"]}`
	}
	var words []uint32
	for _, text := range []string{about.Name, about.Version, about.Description, about.ConfigSchema} {
		words = append(words, lift(text)...)
	}
	words = append(words, about.Effects, flag(about.FailsClosed))
	words = append(words, liftTexts(about.RejectCodes)...)
	words = append(words, 0, 0)
	return liftWords(words)
}

//go:wasmexport strait:plugin/transform@0.2.0#configure
func configure(config, configLen, link, linkLen, source, sourceLen, hasSourceRegion, sourceRegion, sourceRegionLen, target,
	targetLen, hasTargetRegion, targetRegion, targetRegionLen, options, optionsLen uint32) uint32 {
	err := plugin.Configure([]byte(text(config, configLen)), Link{
		Link:         text(link, linkLen),
		Source:       text(source, sourceLen),
		SourceRegion: text(sourceRegion, sourceRegionLen*hasSourceRegion),
		Target:       text(target, targetLen),
		TargetRegion: text(targetRegion, targetRegionLen*hasTargetRegion),

		DemandsResidency: demandsResidency(words(options, 3*optionsLen)),
	})
	if err == nil {
		counters := liftCounters()
		return liftWords([]uint32{0, counters[0], counters[1], 0, 0})
	}
	mistake := &ConfigError{Message: err.Error()}
	errors.As(err, &mistake)
	return liftWords([]uint32{1, liftWords(append(lift(mistake.Path), lift(mistake.Message)...)), 1, 0, 0})
}

// Options of a link and of a plan.
const (
	optionResidency = 2
	optionProtects  = 1
	optionShapes    = 2
)

func demandsResidency(options []uint32) bool {
	for ; len(options) >= 3; options = options[3:] {
		if options[0] == optionResidency {
			return text(options[1], options[2]) == "\x01"
		}
	}
	return false
}

func liftCounters() []uint32 {
	counting, ok := plugin.(Counting)
	if !ok {
		return []uint32{0, 0}
	}
	counters := counting.Counters()
	var list []uint32
	for _, counter := range counters {
		list = append(list, lift(counter.Name)...)
		list = append(list, lift(counter.Rule)...)
		list = append(list, flag(counter.Expected))
	}
	return []uint32{liftWords(list), uint32(len(counters))}
}

func liftOptions(plan TopicPlan) []uint32 {
	var list []uint32
	if plan.Protects != "" {
		list = append(append(list, optionProtects), lift(plan.Protects)...)
	}
	if plan.LenientShapes {
		list = append(append(list, optionShapes), lift("\x01")...)
	}
	return []uint32{liftWords(list), uint32(len(list) / 3)}
}

//go:wasmexport strait:plugin/transform@0.2.0#open-topic
func openTopic(topic, topicLen, partitions, _, _ uint32) uint32 {
	plan, err := plugin.OpenTopic(text(topic, topicLen), partitions)
	if err != nil {
		return liftWords(append([]uint32{1, 0}, lift(err.Error())...))
	}
	// The payload is aligned to 8, because the lookback of needs contains an u64.
	words := append([]uint32{0, 0, flag(plan.Name != "")}, lift(plan.Name)...)
	needs := plan.Needs
	if needs == nil {
		needs = &Needs{}
	}
	words = append(words, 0, flag(plan.Needs != nil), 0)
	columns := needs.columns()
	words = append(words, liftWords(columns), uint32(len(columns)))
	words = append(words, liftTexts(needs.Headers)...)
	words = append(words, flag(needs.AllHeaders))
	words = append(words, liftTexts(needs.Fields)...)
	words = append(words, needs.Effects)
	words = append(words, liftTexts(needs.OutputTopics)...)
	lookback := Lookback{}
	if needs.Lookback != nil {
		lookback = *needs.Lookback
	}
	words = append(words, needs.ValueMaxBytes, 0, flag(needs.Lookback != nil), 0, lookback.Records, 0)
	words = append(words, uint32(lookback.Millis), uint32(lookback.Millis>>32))
	return liftWords(append(words, liftOptions(plan)...))
}

//go:wasmexport strait:plugin/transform@0.2.0#process
func process(topic, topicLen, partition, count uint32, baseOffset uint64, mode, _, _, origins, originsLen, directory,
	directoryLen, data, dataLen uint32) (result uint32) {
	defer func() {
		if broken := recover(); broken != nil {
			result = liftWords(append([]uint32{1}, lift(fmt.Sprint("panic: ", broken))...))
		}
	}()
	record := &Record{topic: text(topic, topicLen), partition: partition, baseOffset: baseOffset, mode: mode}
	for places := words(origins, 2*originsLen); len(places) >= 2; places = places[2:] {
		record.origins = append(record.origins, text(places[0], places[1]))
	}
	all, places := view(data, dataLen), words(directory, directoryLen)
	for ; len(places) >= 3; places = places[3:] {
		number, start, length := places[0], places[1], places[2]
		// Columns of a newer host are ignored. A column without bytes still exists.
		if number < uint32(len(record.column)) {
			record.column[number] = append(empty, all[start:start:start]...)
			if length > 0 {
				record.column[number] = all[start : start+length : start+length]
			}
		}
	}
	answer.ops, answer.data = answer.ops[:0], answer.data[:0]
	judge(plugin, record, count, &answer)
	ops := uint32(uintptr(unsafe.Pointer(unsafe.SliceData(answer.ops))))
	return liftWords([]uint32{0, ops, uint32(len(answer.ops)), address(answer.data), uint32(len(answer.data))})
}

func view(at, length uint32) []byte {
	if length == 0 {
		return empty
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(uintptr(at))), length)
}

func words(at, length uint32) []uint32 {
	if length == 0 {
		return nil
	}
	return unsafe.Slice((*uint32)(unsafe.Pointer(uintptr(at))), length)
}

// Returns a copy, because lowered memory is freed after the call.
func text(at, length uint32) string { return string(view(at, length)) }

func address(data []byte) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(data)))) }

func flag(on bool) uint32 {
	if on {
		return 1
	}
	return 0
}

// lift returns address and length of a text.
func lift(text string) []uint32 {
	data := []byte(text)
	lifted = append(lifted, data)
	return []uint32{address(data), uint32(len(data))}
}

func liftTexts(texts []string) []uint32 {
	var pairs []uint32
	for _, text := range texts {
		pairs = append(pairs, lift(text)...)
	}
	return []uint32{liftWords(pairs), uint32(len(texts))}
}

// liftWords returns the address of numbers, aligned to 8.
func liftWords(numbers []uint32) uint32 {
	aligned := make([]uint64, (len(numbers)+2)/2)
	place := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(aligned))), len(numbers))
	copy(place, numbers)
	lifted = append(lifted, aligned)
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(place))))
}
