//! Drops test orders, redacts the customer's e-mail, routes by region.

const std = @import("std");
const strait = @import("strait");

// Indexes of the requested fields in `needs`.
const EMAIL = 0;
const REGION = 1;
const EFFECTS: strait.Effects = .{ .drop = true, .field = true, .topic = true };

pub const Plugin = struct {
    test_prefix: []const u8,

    pub const about: strait.About = .{
        .name = "tidy-orders",
        .version = "0.1.0",
        .description = "Drops test orders, redacts the customer's e-mail, routes by region",
        .effects = EFFECTS,
        // A plugin that redacts must not pass what it cannot read.
        .fails_closed = true,
        .config_schema =
        \\{
        \\  "type": "object",
        \\  "properties": { "test_prefix": { "type": "string", "minLength": 1 } },
        \\  "additionalProperties": false
        \\}
        ,
    };

    pub fn init(config: []const u8, _: strait.Link, _: *strait.Mistake) !Plugin {
        const Settings = struct { test_prefix: []const u8 = "test-" };
        const settings = try std.json.parseFromSliceLeaky(Settings, strait.allocator, config, .{});
        return .{ .test_prefix = settings.test_prefix };
    }

    pub fn openTopic(_: *Plugin, topic: []const u8, _: u32) !strait.TopicPlan {
        if (!std.mem.startsWith(u8, topic, "orders")) return .{};
        return .{ .needs = .{
            .key = true,
            .fields = &.{ "$.customer.email", "$.region" },
            .effects = EFFECTS,
            .output_topics = &.{ "orders-eu", "orders-us" },
        } };
    }

    pub fn onRecord(self: *Plugin, record: *strait.Record) !void {
        if (std.mem.startsWith(u8, record.key() orelse "", self.test_prefix)) return record.drop();
        var emails = record.fields(EMAIL);
        while (emails.next()) |email| record.setField(email, "\"***\"");
        const region = record.fieldText(REGION) orelse return;
        if (std.mem.eql(u8, region, "eu")) record.setTopic("orders-eu");
        if (std.mem.eql(u8, region, "us")) record.setTopic("orders-us");
    }
};

test "test orders are dropped, e-mails redacted" {
    var tester = try strait.testing.Tester(Plugin).init("{}");
    const edits = try tester.process(&.{
        .{ .key = "test-1" },
        .{ .key = "customer-1", .value = "{}", .fields = &.{
            .{ .path = EMAIL, .json = "\"a@example.com\"" },
            .{ .path = REGION, .json = "\"\\u0065u\"" },
        } },
    });
    try strait.testing.expectLines(&.{ "0 drop", "1 field 0 = \"***\"", "1 topic = orders-eu" }, edits);
}
