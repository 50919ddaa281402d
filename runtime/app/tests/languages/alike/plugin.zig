//! Does what the header "do" of a record says. The same plugin exists in each language.

const std = @import("std");
const strait = @import("strait");

const LIST = 0;
const NAME = 1;
const ABSENT = 2;
const ALL: strait.Effects = @bitCast(@as(u32, (1 << 10) - 1));

pub const Plugin = struct {
    config: Config,
    warmed: u32 = 0,
    ended: u32 = 0,

    const Config = struct { mistake: bool = false, failure: bool = false, lookback: u32 = 10 };

    pub const about: strait.About = .{
        .name = "alike",
        .version = "1.0.0",
        .effects = ALL,
        .fails_closed = true,
        .reject_codes = &.{ "odd", "worse" },
        .config_schema = "{\"type\":\"object\"}",
    };

    pub fn init(config: []const u8, _: strait.Link, mistake: *strait.Mistake) !Plugin {
        const made = try std.json.parseFromSliceLeaky(Config, strait.allocator, config, .{});
        if (!made.mistake) return .{ .config = made };
        mistake.* = .{ .path = "/mistake", .message = "as asked" };
        return error.Mistake;
    }

    pub fn counters(_: *Plugin) []const strait.Counter {
        return &.{ .{ .name = "seen", .rule = "rule-1", .expected = true }, .{ .name = "ended" } };
    }

    pub fn openTopic(self: *Plugin, topic: []const u8, _: u32) !strait.TopicPlan {
        if (self.config.failure) return error.@"as asked";
        if (std.mem.eql(u8, topic, "old")) return .{ .name = "new" };
        if (std.mem.eql(u8, topic, "bare")) return .{ .needs = .{ .effects = ALL, .headers = &.{"do"} } };
        var plan: strait.TopicPlan = .{ .needs = .{
            .effects = ALL,
            .headers = &.{ "do", "note" },
            .fields = &.{ "$.list[*]", "$.name", "$.absent" },
            .field_pointers = true,
            .output_topics = &.{"elsewhere"},
            .offset = true,
            .timestamp = true,
            .timestamp_type = true,
            .origin = true,
            .key = true,
            .value = true,
            .value_state = true,
            .lookback = if (std.mem.eql(u8, topic, "memory")) .{ .records = self.config.lookback } else null,
        } };
        if (std.mem.eql(u8, topic, "lenient")) {
            plan.lenient_shapes = true;
            plan.protects = "[{\"rule\":\"all\",\"at\":\"value$['absent']\",\"leaves\":\"nothing\"}]";
        }
        return plan;
    }

    const Step = enum {
        see,
        key,
        drop,
        reject,
        @"reject, by rule",
        @"reject, unknown",
        @"field, unknown",
        @"header, unknown",
        @"remove, unknown",
        @"insert, unknown",
        count,
        @"count, unknown",
        parts,
        partition,
        fields,
        copies,
    };

    pub fn onRecord(self: *Plugin, record: *strait.Record) !void {
        self.warmed += @intFromBool(record.isWarmUp());
        if (record.headerCount() == 0) return;
        switch (std.meta.stringToEnum(Step, record.header(0).value orelse "") orelse return) {
            .see => record.addHeader("seen", try self.seen(record)),
            .key => record.setValue(record.key()),
            .drop => record.drop(),
            .reject => record.reject("worse", "why"),
            .@"reject, by rule" => record.rejectOf(0, "odd", "why"),
            .@"reject, unknown" => record.reject("unknown", ""),
            .@"field, unknown" => record.setField(record.field(3).?, "1"),
            .@"header, unknown" => record.setHeader(9, null),
            .@"remove, unknown" => record.removeHeader(9),
            .@"insert, unknown" => record.insertField(9, "1"),
            .count => strait.count(1, 1),
            .@"count, unknown" => strait.count(2, 1),
            .parts => {
                record.setKey("k2");
                record.setValue("v2");
                record.setHeader(1, "x");
                record.addHeader("more", null);
                record.addHeader("most", "m");
                record.setTimestampMs(5);
                record.setTopic("elsewhere");
                record.partitionBy("p");
            },
            .partition => {
                record.setKey(null);
                record.removeHeader(1);
                record.setPartition(0);
            },
            .fields => {
                var places = record.fields(LIST);
                record.setField(places.next().?, "\"new\"");
                record.removeField(places.next().?);
                record.insertField(ABSENT, "{}");
            },
            .copies => {
                record.setKey("one");
                record.emit();
                record.setValue(null);
                record.emit();
                record.drop();
            },
        }
    }

    pub fn endBatch(self: *Plugin) void {
        self.ended += 1;
        strait.count(0, 1);
    }

    fn seen(self: *Plugin, record: *strait.Record) ![]const u8 {
        const arena = record.arena();
        var places: []const u8 = "";
        var fields = record.fields(LIST);
        while (fields.next()) |place| {
            places = try arena.print("{s}{d}:{s}:{s};", .{ places, place.occurrence, place.pointer.?, place.json });
        }
        var headers: []const u8 = "";
        for (0..record.headerCount()) |at| {
            const header = record.header(at);
            headers = try arena.print("{s}{s}={s};", .{ headers, header.name, header.value orelse "null" });
        }
        const start = try arena.print("{s}/{d}@{d} {d} append={s} origin={s}", .{
            record.topic(),                      record.partition(),            record.offset(), record.timestampMs(),
            yes(record.timestampIsAppendTime()), record.origin() orelse "null",
        });
        return arena.print("{s} warm={s} again={s} judged={s} warmed={d} ended={d} key={s} value={s} list={s} name={s} headers={s}", .{
            start,                                yes(record.isWarmUp()),       yes(record.isSecondTry()),
            yes(record.valueState().isJudged()),  self.warmed,                  self.ended,
            record.key() orelse "null",           record.value() orelse "null", places,
            record.fieldText(NAME) orelse "null", headers,
        });
    }
};

fn yes(value: bool) []const u8 {
    return if (value) "yes" else "no";
}
