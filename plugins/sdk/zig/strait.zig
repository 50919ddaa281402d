//! SDK for Strait plugins in Zig.
//!
//! A plugin is `pub const Plugin` of plugin.zig: a struct with `about`, `init`, `openTopic` and
//! `onRecord`, and, if it wants them, `counters` and `endBatch` (see `check`). The host calls it
//! once per batch; the SDK turns that into one call of `onRecord` per record and collects the
//! results. Only what `Needs` requests is copied into the guest. plugin.wit defines the layout of
//! columns and edits.
//!
//! testing.zig runs a plugin natively, for `zig test`.

const std = @import("std");
const builtin = @import("builtin");

const record = @import("record.zig");
pub const records = record;
pub const testing = @import("testing.zig");

pub const Record = record.Record;
pub const Field = record.Field;
pub const Header = record.Header;
pub const ValueState = record.ValueState;

/// Memory that lasts as long as the plugin.
pub const allocator: std.mem.Allocator = if (builtin.cpu.arch.isWasm()) std.heap.wasm_allocator else std.heap.page_allocator;

/// Effects of a plugin.
pub const Effects = packed struct(u32) {
    drop: bool = false,
    key: bool = false,
    value: bool = false,
    field: bool = false,
    header: bool = false,
    timestamp: bool = false,
    topic: bool = false,
    partition: bool = false,
    emit: bool = false,
    reject: bool = false,
    _: u22 = 0,
};

/// The description of a plugin, independent of any configuration.
pub const About = struct {
    name: []const u8,
    version: []const u8 = "0.1.0",
    description: []const u8 = "",
    /// JSON Schema of the configuration. The host validates it before `init`.
    config_schema: []const u8 =
        \\{"type":["object","null"]}
    ,
    /// The most that this plugin can ever do.
    effects: Effects = .{},
    /// Whether a record that the plugin could not judge must not pass. Set it for a redactor.
    fails_closed: bool = false,
    /// Codes for `Record.reject`.
    reject_codes: []const []const u8 = &.{},
};

/// The link that the plugin runs on.
pub const Link = struct {
    link: []const u8,
    source: []const u8,
    source_region: ?[]const u8,
    target: []const u8,
    target_region: ?[]const u8,
    /// Whether the operator demands residency: whatever cannot be judged must stay where it is, so
    /// a plugin of several behaviours takes the strictest one by default.
    demands_residency: bool,
};

/// A mistake in the configuration: a JSON Pointer into it, and a message.
pub const Mistake = struct { path: []const u8 = "", message: []const u8 = "" };

/// A counter, for `count`.
pub const Counter = struct {
    name: []const u8,
    /// The rule that it is of, by the operator's name for it; empty for the whole plugin.
    rule: []const u8 = "",
    /// Whether Strait reports it if nothing is ever counted (event `rule_silent`).
    expected: bool = false,
};

/// How much of a partition's log a stateful plugin must see before it can judge a record.
pub const Lookback = struct {
    /// At most so many offsets, 1 to 10,000,000.
    records: u32,
    /// At most this age; 0 is no limit.
    millis: u64 = 0,
};

/// The parts of a topic's records that a plugin reads, and the effects it uses. Nothing else is
/// delivered.
pub const Needs = struct {
    effects: Effects = .{},
    offset: bool = false,
    timestamp: bool = false,
    timestamp_type: bool = false,
    origin: bool = false,
    key: bool = false,
    value: bool = false,
    value_state: bool = false,
    /// JSONPaths (RFC 9535) with names, indexes, `[*]` and `..name`.
    fields: []const []const u8 = &.{},
    field_pointers: bool = false,
    /// Headers are delivered by name, or all of them.
    headers: []const []const u8 = &.{},
    all_headers: bool = false,
    /// Topics that `Record.setTopic` may use: regular expressions that match the whole name.
    output_topics: []const []const u8 = &.{},
    /// Largest value to pass to the plugin, in bytes; 0 is no limit. A record with a larger one is
    /// rejected if the plugin fails closed, and otherwise passed on without it.
    value_max_bytes: u32 = 0,
    /// Makes the plugin stateful: one instance per partition, warmed up from the log before it
    /// judges.
    lookback: ?Lookback = null,

    /// Writes the numbers of the columns, and returns them.
    pub fn columns(needs: Needs, numbers: *[record.COLUMNS]u32) []u32 {
        var list = std.ArrayList(u32).initBuffer(numbers);
        if (needs.offset) list.appendAssumeCapacity(1);
        if (needs.timestamp) list.appendAssumeCapacity(2);
        if (needs.key) list.appendSliceAssumeCapacity(&.{ 3, 4 });
        if (needs.value) list.appendSliceAssumeCapacity(&.{ 5, 6 });
        if (needs.value_state) list.appendAssumeCapacity(7);
        if (needs.fields.len > 0) list.appendSliceAssumeCapacity(&.{ 8, 9, 10 });
        if (needs.field_pointers) list.appendAssumeCapacity(11);
        if (needs.headers.len > 0 or needs.all_headers) list.appendSliceAssumeCapacity(&.{ 12, 13, 14, 15, 16 });
        if (needs.timestamp_type) list.appendAssumeCapacity(17);
        if (needs.origin) list.appendAssumeCapacity(18);
        return list.items;
    }
};

/// The plan of a plugin for one topic. Without `needs` it never sees the topic's records, which
/// costs nothing.
pub const TopicPlan = struct {
    /// Renames the topic (effect `topic`).
    name: ?[]const u8 = null,
    needs: ?Needs = null,
    /// Claims what the plugin leaves of parts of the topic's records: a JSON array as plugin.wit
    /// describes it. Each claim must be true of every record that the plugin lets pass.
    protects: ?[]const u8 = null,
    /// Has values count as parsed in which the path of a field meets something that it cannot step
    /// into. Without it they have the state `wrong_shape`.
    lenient_shapes: bool = false,
};

/// Levels of `log`.
pub const Level = enum(u32) { trace, debug, info, warn, @"error" };

const wasm = struct {
    extern "strait:plugin/host@0.2.0" fn log(level: u32, text: [*]const u8, len: usize) void;
    extern "strait:plugin/host@0.2.0" fn count(counter: u32, delta: u64) void;
};

/// Writes to Strait's log. At most 64 messages of 1 KiB per batch; they appear once the batch is
/// accepted.
pub fn log(level: Level, message: []const u8) void {
    if (builtin.cpu.arch.isWasm()) wasm.log(@intFromEnum(level), message.ptr, message.len) else testing.logged(level, message);
}

/// Adds to the counter at an index of `Plugin.counters`. Call it in `endBatch` with a sum: a call
/// of the host costs more than a record.
pub fn count(counter: u32, delta: u64) void {
    if (builtin.cpu.arch.isWasm()) wasm.count(counter, delta) else testing.counted(counter, delta);
}

/// Ends the call with a message for the operator, which must not contain personal data.
pub fn fail(comptime format: []const u8, values: anytype) noreturn {
    var buffer: [256]u8 = undefined;
    const message = std.mem.print(&buffer, format, values) catch &buffer;
    @panic(message);
}

/// Checks that a struct has what a plugin must have, with messages that say what is missing.
pub fn check(comptime Plugin: type) void {
    const wanted = .{
        .{ "about", "const about: strait.About" },
        .{ "init", "fn init(config: []const u8, link: strait.Link, mistake: *strait.Mistake) !Plugin" },
        .{ "openTopic", "fn openTopic(self: *Plugin, topic: []const u8, partitions: u32) !strait.TopicPlan" },
        .{ "onRecord", "fn onRecord(self: *Plugin, record: *strait.Record) !void" },
    };
    inline for (wanted) |member| {
        if (!@hasDecl(Plugin, member[0])) @compileError("Plugin has no `pub " ++ member[1] ++ "`");
    }
}

/// Returns the counters of a plugin; none if it declares none.
pub fn countersOf(comptime Plugin: type, plugin: *Plugin) []const Counter {
    return if (@hasDecl(Plugin, "counters")) plugin.counters() else &.{};
}

/// Judges a batch.
pub fn judge(comptime Plugin: type, plugin: *Plugin, batch: *const record.Batch, edits: *record.Edits) !void {
    var at = Record{ .batch = batch, .edits = edits, .codes = Plugin.about.reject_codes };
    while (at.index < batch.count) : (at.next()) {
        try plugin.onRecord(&at);
    }
    if (@hasDecl(Plugin, "endBatch")) plugin.endBatch();
}
