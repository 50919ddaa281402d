//! A record of a batch: reading its columns, and writing edits.

const std = @import("std");
const strait = @import("strait.zig");

pub const COLUMNS = 19;
const NULL_EDIT = std.math.maxInt(u32);

/// The state of a value as a document.
pub const ValueState = enum(u8) {
    parsed,
    null,
    empty,
    not_json,
    not_utf8,
    trailing_bytes,
    name_twice,
    too_large,
    wrong_shape,
    no_schema,
    other_schema,
    sealed,
    _,

    /// Whether the fields can be trusted, or there is no value. Any other state means that the
    /// value was not judged, one that this SDK does not know too.
    pub fn isJudged(state: ValueState) bool {
        return state == .parsed or state == .null;
    }
};

/// A batch of records as columns.
pub const Batch = struct {
    topic: []const u8,
    partition: u32,
    count: u32,
    base_offset: u64,
    mode: u32,
    origins: []const []const u8 = &.{},
    columns: [COLUMNS]?[]const u8 = @splat(null),
    /// Memory for the plugin, freed after the batch.
    arena: std.mem.Allocator,

    /// The number of paths that the plugin declared. From the column itself: openTopic is not
    /// called again on an instance that replaces a broken one.
    fn fields(batch: *const Batch) usize {
        const counts = batch.columns[8] orelse return 0;
        return if (batch.count == 0) 0 else counts.len / 4 / batch.count;
    }

    fn column(batch: *const Batch, number: usize, comptime what: []const u8) []const u8 {
        return batch.columns[number] orelse strait.fail("the plugin reads " ++ what ++ ", but its needs do not request it", .{});
    }

    fn u32At(batch: *const Batch, number: usize, at: usize, comptime what: []const u8) u32 {
        return std.mem.readInt(u32, batch.column(number, what)[at * 4 ..][0..4], .little);
    }

    fn length(batch: *const Batch, number: usize, at: usize) usize {
        const len: i32 = @bitCast(batch.u32At(number, at, "lengths"));
        return if (len > 0) @intCast(len) else 0;
    }

    fn run(batch: *const Batch, lengths: usize, at: usize, start: usize, comptime what: []const u8) ?[]const u8 {
        const len: i32 = @bitCast(batch.u32At(lengths, at, what));
        if (len < 0) return null;
        return batch.column(lengths + 1, what)[start..][0..@intCast(len)];
    }
};

/// The edits of a batch.
pub const Edits = struct {
    ops: std.ArrayList(u32) = .empty,
    data: std.ArrayList(u8) = .empty,

    pub fn clear(edits: *Edits) void {
        edits.ops.clearRetainingCapacity();
        edits.data.clearRetainingCapacity();
    }
};

/// A header of a record. A `value` of null is Kafka's null.
pub const Header = struct { name: []const u8, value: ?[]const u8 };

/// A place in the value where a path of `Needs.fields` matched.
pub const Field = struct {
    /// Number among all fields of the record.
    occurrence: u32,
    /// JSON text, with numbers and escapes as written.
    json: []const u8,
    /// JSON Pointer; null without `Needs.field_pointers`.
    pointer: ?[]const u8,

    /// Returns the text of a JSON string, or null for any other type. A text with escapes is
    /// written into `arena`.
    pub fn text(field: Field, arena: std.mem.Allocator) ?[]const u8 {
        if (field.json.len < 2 or field.json[0] != '"') return null;
        if (std.mem.findScalar(u8, field.json, '\\') == null) return field.json[1 .. field.json.len - 1];
        return std.json.parseFromSliceLeaky([]const u8, arena, field.json, .{}) catch null;
    }
};

/// The places where one path matches, in the order of the document.
pub const Fields = struct {
    record: *const Record,
    left: usize,
    occurrence: u32,
    at: usize,
    start: usize,

    pub fn next(places: *Fields) ?Field {
        if (places.left == 0) return null;
        const batch = places.record.batch;
        const json = batch.run(9, places.at, places.start, "the fields") orelse "";
        const found = Field{ .occurrence = places.occurrence, .json = json, .pointer = places.record.pointer(places.at) };
        places.start += json.len;
        places.at += 1;
        places.occurrence += 1;
        places.left -= 1;
        return found;
    }
};

/// A record, with the parts that the plugin requested. Access to any other part, and any index that
/// is out of range, ends the call with an error, because returning null would be wrong. The bytes
/// belong to the host: copy what must outlive `onRecord`.
///
/// Without a call of a method that changes it, the record passes. Changes apply in order; parts
/// that none names stay as they are. null bytes are Kafka's null.
pub const Record = struct {
    batch: *const Batch,
    edits: *Edits,
    codes: []const []const u8,
    index: u32 = 0,
    // Start of this record's bytes, occurrences and headers.
    key_start: usize = 0,
    value_start: usize = 0,
    occurrence: usize = 0,
    field_start: usize = 0,
    header_at: usize = 0,
    name_start: usize = 0,
    content_start: usize = 0,

    /// Memory that is freed after the batch.
    pub fn arena(r: *const Record) std.mem.Allocator {
        return r.batch.arena;
    }

    /// Returns the source topic, or the name that an earlier plugin of the chain gave it.
    pub fn topic(r: *const Record) []const u8 {
        return r.batch.topic;
    }

    /// Returns the source partition.
    pub fn partition(r: *const Record) u32 {
        return r.batch.partition;
    }

    /// Returns whether this record is part of a warm-up: what the plugin makes of it is not sent.
    pub fn isWarmUp(r: *const Record) bool {
        return r.batch.mode & 1 != 0;
    }

    /// Returns whether this is a retry, because an earlier call with the record failed.
    pub fn isSecondTry(r: *const Record) bool {
        return r.batch.mode & 2 != 0;
    }

    /// Returns the source offset. Needs `offset`.
    pub fn offset(r: *const Record) u64 {
        return r.batch.base_offset + r.batch.u32At(1, r.index, "the offset");
    }

    /// Returns milliseconds since the Unix epoch, or -1 if there is none. Needs `timestamp`.
    pub fn timestampMs(r: *const Record) i64 {
        return std.mem.readInt(i64, r.batch.column(2, "the timestamp")[@as(usize, r.index) * 8 ..][0..8], .little);
    }

    /// Returns whether the source broker set the timestamp. Needs `timestamp_type`.
    pub fn timestampIsAppendTime(r: *const Record) bool {
        return r.batch.column(17, "the timestamp type")[r.index] == 1;
    }

    /// Returns the cluster where the record was produced, or null if it is not known. Needs
    /// `origin`.
    pub fn origin(r: *const Record) ?[]const u8 {
        const at = r.batch.u32At(18, r.index, "the origin");
        return if (at < r.batch.origins.len) r.batch.origins[at] else null;
    }

    /// Returns the key; null is a null key. Needs `key`.
    pub fn key(r: *const Record) ?[]const u8 {
        return r.batch.run(3, r.index, r.key_start, "the key");
    }

    /// Returns the value; null is a tombstone. Needs `value`.
    pub fn value(r: *const Record) ?[]const u8 {
        return r.batch.run(5, r.index, r.value_start, "the value");
    }

    /// Returns the state of the value as a document. Needs `value_state`.
    pub fn valueState(r: *const Record) ValueState {
        return @enumFromInt(r.batch.column(7, "the state of the value")[r.index]);
    }

    /// Returns every place where the path at an index of `Needs.fields` matches.
    pub fn fields(r: *const Record, path: usize) Fields {
        r.requirePath(path);
        const first = @as(usize, r.index) * r.batch.fields();
        var found = Fields{ .record = r, .left = 0, .occurrence = 0, .at = r.occurrence, .start = r.field_start };
        for (0..path + 1) |at| {
            found.left = r.batch.u32At(8, first + at, "the fields");
            if (at == path) break;
            while (found.next()) |_| {}
        }
        return found;
    }

    /// Returns the first place where the path at an index of `Needs.fields` matches.
    pub fn field(r: *const Record, path: usize) ?Field {
        var found = r.fields(path);
        return found.next();
    }

    /// Returns the text of the first place where a path matches, or null if there is none or it is
    /// not a JSON string.
    pub fn fieldText(r: *const Record, path: usize) ?[]const u8 {
        const first = r.field(path) orelse return null;
        return first.text(r.arena());
    }

    /// The places of another record would follow.
    fn requirePath(r: *const Record, path: usize) void {
        const named = r.batch.fields();
        if (path >= named) strait.fail("the plugin reads field {d}, but its needs name {d} for this topic", .{ path, named });
    }

    fn pointer(r: *const Record, at: usize) ?[]const u8 {
        const column = r.batch.columns[11] orelse return null;
        // All lengths of the batch, then all bytes.
        var start = r.batch.column(9, "the fields").len;
        for (0..at) |before| start += std.mem.readInt(u32, column[before * 4 ..][0..4], .little);
        return column[start..][0..std.mem.readInt(u32, column[at * 4 ..][0..4], .little)];
    }

    /// Returns the number of declared headers, or of all of them.
    pub fn headerCount(r: *const Record) usize {
        return r.batch.u32At(12, r.index, "the headers");
    }

    /// Returns a header, by its index in the record.
    pub fn header(r: *const Record, index: usize) Header {
        const there = r.headerCount();
        if (index >= there) strait.fail("the plugin reads header {d}, but the record has {d} of those that it requested", .{ index, there });
        var found = Header{ .name = "", .value = null };
        var name_start = r.name_start;
        var content_start = r.content_start;
        for (r.header_at..r.header_at + index + 1) |at| {
            found.name = r.batch.run(13, at, name_start, "the headers") orelse "";
            found.value = r.batch.run(15, at, content_start, "the headers");
            name_start += found.name.len;
            content_start += if (found.value) |content| content.len else 0;
        }
        return found;
    }

    /// Drops the record; after `emit` the original. It must be the last change.
    pub fn drop(r: *Record) void {
        r.edit(0, 0, "");
    }

    /// Rejects the record: it goes to quarantine on the source. `code` is one of
    /// `About.reject_codes`. The reason is for the operator and must not contain personal data.
    pub fn reject(r: *Record, code: []const u8, reason: []const u8) void {
        for (r.codes, 0..) |known, at| {
            if (std.mem.eql(u8, known, code)) return r.edit(13, @intCast(at), reason);
        }
        strait.fail("'{s}' is not one of the plugin's reject codes", .{code});
    }

    /// Rejects the record by a rule: that of a counter, by its index in `Plugin.counters`. Its name
    /// goes into the books of quarantine.
    pub fn rejectOf(r: *Record, counter: u32, code: []const u8, reason: []const u8) void {
        r.edit(15, counter, "");
        r.reject(code, reason);
    }

    /// Sets the key.
    pub fn setKey(r: *Record, content: ?[]const u8) void {
        r.edit(1, 0, content);
    }

    /// Sets the value; null makes a tombstone. Excludes field edits of this record.
    pub fn setValue(r: *Record, content: ?[]const u8) void {
        r.edit(2, 0, content);
    }

    /// Replaces a field with JSON text.
    pub fn setField(r: *Record, place: Field, json: []const u8) void {
        r.edit(3, place.occurrence, json);
    }

    /// Removes a field: the member with its name, or the element of the array.
    pub fn removeField(r: *Record, place: Field) void {
        r.edit(3, place.occurrence, null);
    }

    /// Inserts a missing field, by the index of its path in `Needs.fields`. Its parent must exist.
    pub fn insertField(r: *Record, path: usize, json: []const u8) void {
        r.edit(4, @intCast(path), json);
    }

    /// Sets the value of a header, by its index in the record.
    pub fn setHeader(r: *Record, index: usize, content: ?[]const u8) void {
        r.edit(5, @intCast(index), content);
    }

    /// Removes a header, by its index in the record.
    pub fn removeHeader(r: *Record, index: usize) void {
        r.edit(6, @intCast(index), "");
    }

    /// Appends a header.
    pub fn addHeader(r: *Record, name: []const u8, content: ?[]const u8) void {
        const bytes = content orelse return r.edit(8, 0, name);
        r.edit(7, @intCast(name.len), name);
        r.edits.ops.items[r.edits.ops.items.len - 1] += @intCast(bytes.len);
        r.append(bytes);
    }

    /// Sets the timestamp, in milliseconds since the Unix epoch.
    pub fn setTimestampMs(r: *Record, timestamp_ms: i64) void {
        var bytes: [8]u8 = undefined;
        std.mem.writeInt(i64, &bytes, timestamp_ms, .little);
        r.edit(9, 0, &bytes);
    }

    /// Sends the record to a topic that `Needs.output_topics` allows. The partition follows the
    /// key.
    pub fn setTopic(r: *Record, name: []const u8) void {
        r.edit(10, 0, name);
    }

    /// Sends the record to this partition.
    pub fn setPartition(r: *Record, number: u32) void {
        r.edit(11, number, "");
    }

    /// Sends the record to the partition that Kafka's default partitioner picks for these bytes.
    pub fn partitionBy(r: *Record, bytes: []const u8) void {
        r.edit(12, 0, bytes);
    }

    /// Sends a copy with the changes so far. Further changes start again from the original, which
    /// is sent too unless `drop` ends them.
    pub fn emit(r: *Record) void {
        r.edit(14, 0, "");
    }

    fn edit(r: *Record, op: u32, arg: u32, bytes: ?[]const u8) void {
        const len: u32 = if (bytes) |some| @intCast(some.len) else NULL_EDIT;
        r.edits.ops.appendSlice(strait.allocator, &.{ r.index, op, arg, len }) catch @panic("out of memory");
        r.append(bytes orelse "");
    }

    fn append(r: *Record, bytes: []const u8) void {
        r.edits.data.appendSlice(strait.allocator, bytes) catch @panic("out of memory");
    }

    /// Advances to the next record.
    pub fn next(r: *Record) void {
        const batch = r.batch;
        if (batch.columns[3] != null) r.key_start += batch.length(3, r.index);
        if (batch.columns[5] != null) r.value_start += batch.length(5, r.index);
        const paths = batch.fields();
        for (0..paths) |path| {
            for (0..batch.u32At(8, @as(usize, r.index) * paths + path, "the fields")) |_| {
                r.field_start += batch.length(9, r.occurrence);
                r.occurrence += 1;
            }
        }
        if (batch.columns[12] != null) {
            for (0..r.headerCount()) |_| {
                r.name_start += batch.length(13, r.header_at);
                r.content_start += batch.length(15, r.header_at);
                r.header_at += 1;
            }
        }
        r.index += 1;
    }
};
