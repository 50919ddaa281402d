//! The exports of a plugin, by the canonical ABI: the host needs only a core module with these.

const std = @import("std");
const strait = @import("strait");
const Plugin = @import("plugin").Plugin;

const records = strait.records;

const TRANSFORM = "strait:plugin/transform@0.2.0#";

/// Options of a link and of a plan.
const RESIDENCY = 2;
const PROTECTS = 1;
const SHAPES = 2;

comptime {
    strait.check(Plugin);
    for (.{ "describe", "configure", "open-topic", "process" }) |name| {
        @export(&release, .{ .name = "cabi_post_" ++ TRANSFORM ++ name });
    }
    @export(&describe, .{ .name = TRANSFORM ++ "describe" });
    @export(&configure, .{ .name = TRANSFORM ++ "configure" });
    @export(&openTopic, .{ .name = TRANSFORM ++ "open-topic" });
    @export(&process, .{ .name = TRANSFORM ++ "process" });
}

/// The operator sees the message of a panic; by itself a trap says nothing.
pub const panic = std.debug.FullPanic(struct {
    fn say(message: []const u8, _: ?usize) noreturn {
        strait.log(.@"error", message);
        @trap();
    }
}.say);

/// Memory for one call of the host: its arguments, and the answer.
var call = std.heap.ArenaAllocator.init(strait.allocator);
/// Bytes that are kept for the next call.
const KEPT_BYTES = 2 << 20;

var plugin: ?Plugin = null;
var edits = records.Edits{};

export fn cabi_realloc(old: usize, old_len: usize, alignment: usize, len: usize) [*]u8 {
    _ = alignment; // At most 16, the alignment of every piece. An empty one must be in memory too.
    const piece = call.allocator().alignedAlloc(u8, .@"16", @max(len, 1)) catch @panic("out of memory");
    const copied = (List{ .at = old, .len = @min(old_len, len) }).bytes();
    @memcpy(piece[0..copied.len], copied);
    return piece.ptr;
}

fn release(_: usize) callconv(.c) void {
    _ = call.reset(.{ .retain_with_limit = KEPT_BYTES });
}

fn arena() std.mem.Allocator {
    return call.allocator();
}

/// A list in the canonical ABI.
const List = extern struct {
    at: usize = 0,
    len: usize = 0,

    fn of(slice: anytype) List {
        // An empty slice can point anywhere.
        return if (slice.len == 0) .{} else .{ .at = @intFromPtr(slice.ptr), .len = slice.len };
    }

    fn ofTexts(texts: []const []const u8) List {
        const lists = arena().alloc(List, texts.len) catch @panic("out of memory");
        for (lists, texts) |*list, text| list.* = .of(text);
        return .of(lists);
    }

    fn bytes(list: List) []const u8 {
        return if (list.len == 0) "" else @as([*]const u8, @ptrFromInt(list.at))[0..list.len];
    }

    fn items(list: List, comptime T: type) []const T {
        return if (list.len == 0) &.{} else @as([*]const T, @ptrFromInt(list.at))[0..list.len];
    }
};

const Option = extern struct { number: u32, value: List };

const About = extern struct {
    name: List,
    version: List,
    description: List,
    config_schema: List,
    effects: u32,
    fails_closed: bool,
    reject_codes: List,
    options: List = .{},
};

fn describe() callconv(.c) *const About {
    const about: strait.About = Plugin.about;
    return answer(About{
        .name = .of(about.name),
        .version = .of(about.version),
        .description = .of(about.description),
        .config_schema = .of(about.config_schema),
        .effects = @bitCast(about.effects),
        .fails_closed = about.fails_closed,
        .reject_codes = .ofTexts(about.reject_codes),
    });
}

const Counter = extern struct { name: List, rule: List, expected: bool };
const Mistake = extern struct { path: List, message: List };
/// Two lists if it is none of errors, else one.
const Ready = extern struct { is_error: u32 = 0, list: List, options: List = .{} };

fn configure(
    config: [*]const u8,
    config_len: usize,
    link: [*]const u8,
    link_len: usize,
    source: [*]const u8,
    source_len: usize,
    has_source_region: u32,
    source_region: [*]const u8,
    source_region_len: usize,
    target: [*]const u8,
    target_len: usize,
    has_target_region: u32,
    target_region: [*]const u8,
    target_region_len: usize,
    link_options: usize,
    link_options_len: usize,
) callconv(.c) *const Ready {
    var demands_residency = false;
    for ((List{ .at = link_options, .len = link_options_len }).items(Option)) |option| {
        if (option.number == RESIDENCY) demands_residency = std.mem.eql(u8, option.value.bytes(), &.{1});
    }
    var mistake = strait.Mistake{};
    // Permanent copies, because the plugin may keep texts of them.
    const made = Plugin.init(kept(config[0..config_len]), .{
        .link = kept(link[0..link_len]),
        .source = kept(source[0..source_len]),
        .source_region = if (has_source_region == 1) kept(source_region[0..source_region_len]) else null,
        .target = kept(target[0..target_len]),
        .target_region = if (has_target_region == 1) kept(target_region[0..target_region_len]) else null,
        .demands_residency = demands_residency,
    }, &mistake);
    plugin = made catch |wrong| {
        if (mistake.message.len == 0) mistake.message = @errorName(wrong);
        const told = one(Mistake{ .path = .of(mistake.path), .message = .of(mistake.message) });
        return answer(Ready{ .is_error = 1, .list = .of(told) });
    };
    const counters = strait.countersOf(Plugin, &plugin.?);
    const lifted = arena().alloc(Counter, counters.len) catch @panic("out of memory");
    for (lifted, counters) |*to, counter| {
        to.* = .{ .name = .of(counter.name), .rule = .of(counter.rule), .expected = counter.expected };
    }
    return answer(Ready{ .list = .of(lifted) });
}

fn kept(text: []const u8) []const u8 {
    return strait.allocator.dupe(u8, text) catch @panic("out of memory");
}

const Lookback = extern struct { records: u32 = 0, millis: u64 align(8) = 0 };

const Plan = extern struct {
    is_error: u32 align(8) = 0,
    // An error has its text in place of the name.
    name: extern union { some: extern struct { is_some: u32, text: List }, wrong: List } align(8) = .{ .some = .{ .is_some = 0, .text = .{} } },
    sees: u32 align(8) = 0,
    columns: List align(8) = .{},
    header_names: List = .{},
    all_headers: bool = false,
    fields: List = .{},
    effects: u32 = 0,
    output_topics: List = .{},
    value_max_bytes: u32 = 0,
    has_lookback: u32 align(8) = 0,
    lookback: Lookback align(8) = .{},
    options: List = .{},
};

comptime {
    if (@sizeOf(Plan) != 112) @compileError("the layout of result<topic-plan, string>");
}

fn openTopic(topic: [*]const u8, topic_len: usize, partitions: u32, _: usize, _: usize) callconv(.c) *const Plan {
    const open = if (plugin) |*open| open else @panic("the plugin was called before it was configured");
    const told: strait.TopicPlan = open.openTopic(topic[0..topic_len], partitions) catch |wrong| {
        return answer(Plan{ .is_error = 1, .name = .{ .wrong = .of(@errorName(wrong)) } });
    };
    var plan = Plan{ .options = planOptions(told) };
    if (told.name) |name| plan.name = .{ .some = .{ .is_some = 1, .text = .of(name) } };
    const needs = told.needs orelse return answer(plan);
    const columns = one(@as([records.COLUMNS]u32, undefined));
    plan.sees = 1;
    plan.columns = .of(needs.columns(&columns[0]));
    plan.header_names = .ofTexts(needs.headers);
    plan.all_headers = needs.all_headers;
    plan.fields = .ofTexts(needs.fields);
    plan.effects = @bitCast(needs.effects);
    plan.output_topics = .ofTexts(needs.output_topics);
    plan.value_max_bytes = needs.value_max_bytes;
    if (needs.lookback) |lookback| {
        plan.has_lookback = 1;
        plan.lookback = .{ .records = lookback.records, .millis = lookback.millis };
    }
    return answer(plan);
}

fn planOptions(plan: strait.TopicPlan) List {
    var list = std.ArrayList(Option).empty;
    if (plan.protects) |claims| list.append(arena(), .{ .number = PROTECTS, .value = .of(claims) }) catch @panic("out of memory");
    if (plan.lenient_shapes) list.append(arena(), .{ .number = SHAPES, .value = .of(@as([]const u8, &.{1})) }) catch @panic("out of memory");
    return .of(list.items);
}

const Answer = extern struct { is_error: u32 = 0, ops: List, data: List = .{} };

fn process(
    topic: [*]const u8,
    topic_len: usize,
    partition: u32,
    count: u32,
    base_offset: u64,
    mode: u32,
    _: usize,
    _: usize,
    origins: usize,
    origins_len: usize,
    columns: usize,
    columns_len: usize,
    data: [*]const u8,
    data_len: usize,
) callconv(.c) *const Answer {
    const judge = if (plugin) |*judge| judge else @panic("the plugin was called before it was configured");
    var batch = records.Batch{
        .topic = topic[0..topic_len],
        .partition = partition,
        .count = count,
        .base_offset = base_offset,
        .mode = mode,
        .arena = arena(),
    };
    const lowered = (List{ .at = origins, .len = origins_len }).items(List);
    const names = arena().alloc([]const u8, lowered.len) catch @panic("out of memory");
    for (names, lowered) |*name, list| name.* = list.bytes();
    batch.origins = names;
    var places = (List{ .at = columns, .len = columns_len }).items(u32);
    while (places.len >= 3) : (places = places[3..]) {
        // Columns of a newer host are ignored.
        if (places[0] < records.COLUMNS) batch.columns[places[0]] = data[0..data_len][places[1]..][0..places[2]];
    }
    edits.clear();
    strait.judge(Plugin, judge, &batch, &edits) catch |wrong| {
        return answer(Answer{ .is_error = 1, .ops = .of(@errorName(wrong)) });
    };
    return answer(Answer{ .ops = .of(edits.ops.items), .data = .of(edits.data.items) });
}

/// Puts a value into the memory of this call.
fn one(value: anytype) []@TypeOf(value) {
    const place = arena().alloc(@TypeOf(value), 1) catch @panic("out of memory");
    place[0] = value;
    return place;
}

fn answer(value: anytype) *const @TypeOf(value) {
    return &one(value)[0];
}
