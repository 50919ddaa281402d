//! Runs a plugin natively, for `zig test` (see docs/plugins.md): records in, edits out.
//!
//! Columns are packed by the layout in plugin.wit, as far as the plugin's needs request them.
//! Fields are given with each record, because finding them in a value is the host's work.

const std = @import("std");
const strait = @import("strait.zig");
const records = @import("record.zig");

const List = std.ArrayList(u8);
/// Memory of a test, freed with its process.
const memory = strait.allocator;

/// Messages and counts since the process began.
pub var logs = std.ArrayList([]const u8).empty;
pub var counts = std.ArrayList(struct { counter: u32, delta: u64 }).empty;

pub fn logged(_: strait.Level, message: []const u8) void {
    logs.append(memory, memory.dupe(u8, message) catch @panic("out of memory")) catch @panic("out of memory");
}

pub fn counted(counter: u32, delta: u64) void {
    counts.append(memory, .{ .counter = counter, .delta = delta }) catch @panic("out of memory");
}

/// A place where the path at the index `path` of `Needs.fields` matches.
pub const TestField = struct { path: u32, json: []const u8, pointer: []const u8 = "" };

/// A record to pass to a plugin.
pub const TestRecord = struct {
    key: ?[]const u8 = null,
    value: ?[]const u8 = null,
    state: records.ValueState = .parsed,
    timestamp_ms: i64 = 1_000,
    headers: []const records.Header = &.{},
    /// In the order of their paths.
    fields: []const TestField = &.{},
};

/// A configured plugin under test, on a link from `aws` in `eu-west-1` to `gcp`.
pub fn Tester(comptime Plugin: type) type {
    return struct {
        plugin: Plugin,
        needs: strait.Needs = .{},
        topic: []const u8 = "",
        mode: u32 = 0,
        next_offset: u64 = 100,

        const Self = @This();

        /// Configures the plugin and opens the topic `orders` with six partitions.
        pub fn init(config: []const u8) !Self {
            var mistake = strait.Mistake{};
            const link = strait.Link{
                .link = "aws-to-gcp",
                .source = "aws",
                .source_region = "eu-west-1",
                .target = "gcp",
                .target_region = null,
                .demands_residency = false,
            };
            var tester = Self{ .plugin = try Plugin.init(config, link, &mistake) };
            _ = try tester.open("orders", 6);
            return tester;
        }

        /// Opens a topic for the following records, and returns its plan.
        pub fn open(tester: *Self, topic: []const u8, partitions: u32) !strait.TopicPlan {
            const plan: strait.TopicPlan = try tester.plugin.openTopic(topic, partitions);
            tester.topic = topic;
            tester.needs = plan.needs orelse .{};
            return plan;
        }

        /// Passes the records in one batch. Returns one line per edit, such as `2 field 0 = "***"`:
        /// the record's index, the operation, the argument, the bytes.
        pub fn process(tester: *Self, batch: []const TestRecord) ![]const []const u8 {
            var columns: [records.COLUMNS]?[]const u8 = @splat(null);
            var numbers: [records.COLUMNS]u32 = undefined;
            for (tester.needs.columns(&numbers)) |number| {
                columns[number] = try pack(number, tester.needs, batch);
            }
            var edits = records.Edits{};
            const lowered = records.Batch{
                .topic = tester.topic,
                .partition = 3,
                .count = @intCast(batch.len),
                .base_offset = tester.next_offset,
                .mode = tester.mode,
                .origins = &.{"aws"},
                .columns = columns,
                .arena = memory,
            };
            tester.next_offset += batch.len;
            try strait.judge(Plugin, &tester.plugin, &lowered, &edits);
            return lines(edits);
        }
    };
}

fn pack(number: u32, needs: strait.Needs, batch: []const TestRecord) ![]const u8 {
    var column = List.empty;
    for (batch, 0..) |record, index| {
        switch (number) {
            1 => try integer(&column, u32, @intCast(index)),
            2 => try integer(&column, i64, record.timestamp_ms),
            3 => try length(&column, record.key),
            4 => try column.appendSlice(memory, record.key orelse ""),
            5 => try length(&column, record.value),
            6 => try column.appendSlice(memory, record.value orelse ""),
            7 => try column.append(memory, @intFromEnum(if (record.value == null) .null else record.state)),
            8 => for (0..needs.fields.len) |path| {
                var there: u32 = 0;
                for (record.fields) |field| there += @intFromBool(field.path == path);
                try integer(&column, u32, there);
            },
            9 => for (record.fields) |field| try length(&column, field.json),
            10 => for (record.fields) |field| try column.appendSlice(memory, field.json),
            11 => for (record.fields) |field| try length(&column, field.pointer),
            12 => try integer(&column, u32, @intCast(record.headers.len)),
            13 => for (record.headers) |header| try length(&column, header.name),
            14 => for (record.headers) |header| try column.appendSlice(memory, header.name),
            15 => for (record.headers) |header| try length(&column, header.value),
            16 => for (record.headers) |header| try column.appendSlice(memory, header.value orelse ""),
            17 => try column.append(memory, 0),
            18 => try integer(&column, u32, 0),
            else => unreachable,
        }
    }
    if (number == 11) {
        for (batch) |record| for (record.fields) |field| try column.appendSlice(memory, field.pointer);
    }
    return column.items;
}

fn integer(column: *List, comptime T: type, value: T) !void {
    var bytes: [@sizeOf(T)]u8 = undefined;
    std.mem.writeInt(T, &bytes, value, .little);
    try column.appendSlice(memory, &bytes);
}

fn length(column: *List, content: ?[]const u8) !void {
    try integer(column, i32, if (content) |bytes| @intCast(bytes.len) else -1);
}

const NAMES = [_][]const u8{
    "drop",       "key",             "value",     "field", "insert",    "header",       "remove header",
    "add header", "add null header", "timestamp", "topic", "partition", "partition by", "reject",
    "emit",       "rule",
};

fn lines(edits: records.Edits) ![]const []const u8 {
    var found = std.ArrayList([]const u8).empty;
    var data: []const u8 = edits.data.items;
    var ops: []const u32 = edits.ops.items;
    while (ops.len >= 4) : (ops = ops[4..]) {
        const op = ops[1];
        const has_arg = (op >= 3 and op <= 7) or op == 11 or op == 13 or op == 15;
        const arg = if (has_arg) try memory.print(" {d}", .{ops[2]}) else "";
        var bytes: []const u8 = " = null";
        if (ops[3] != std.math.maxInt(u32)) {
            const content = data[0..ops[3]];
            data = data[ops[3]..];
            bytes = switch (op) {
                9 => try memory.print(" = {d}", .{std.mem.readInt(i64, content[0..8], .little)}),
                0, 6, 11, 14, 15 => "",
                else => try memory.print(" = {s}", .{content}),
            };
        }
        try found.append(memory, try memory.print("{d} {s}{s}{s}", .{ ops[0], NAMES[op], arg, bytes }));
    }
    return found.items;
}

/// Fails the test unless the lines are these.
pub fn expectLines(expected: []const []const u8, actual: []const []const u8) !void {
    try std.testing.expectEqual(expected.len, actual.len);
    for (expected, actual) |wanted, got| try std.testing.expectEqualStrings(wanted, got);
}
