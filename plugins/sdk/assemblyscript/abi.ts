// The exports by the canonical ABI: the host needs only a core module with these.

import { About, Counter, Link, Needs, Plugin, TopicPlan } from "./strait";
import { Answer, Batch, Record } from "./record";

// Options of a link and of a plan.
const RESIDENCY: u32 = 2;
const PROTECTS: u32 = 1;
const SHAPES: u32 = 2;
/** Bytes of result<topic-plan, string>. */
const PLAN_BYTES: usize = 112;

/** Memory for one call of the host: its arguments, and the answer. */
const pieces = new Array<usize>();
const answer = new Answer();
let instance: Plugin | null = null;
let codes: string[] = [];

export function install(plugin: Plugin): void {
  instance = plugin;
  codes = plugin.about().rejectCodes;
}

function installed(): Plugin {
  const plugin = instance;
  if (plugin === null) throw new Error("plugin() of plugin.ts gives no plugin");
  return plugin;
}

export function realloc(old: usize, oldLength: usize, align: usize, length: usize): usize {
  // Aligned to 16, which is enough for every piece.
  const at = heap.alloc(max<usize>(length, 1));
  memory.copy(at, old, min(oldLength, length));
  pieces.push(at);
  return at;
}

/** Ends a call. Nothing is on the stack now, so garbage is told from the rest. */
export function release(result: usize): void {
  for (let at = 0; at < pieces.length; at++) heap.free(pieces[at]);
  pieces.length = 0;
  __collect();
}

function zeroed(length: usize): usize {
  const at = realloc(0, 0, 8, length);
  memory.fill(at, 0, length);
  return at;
}

/** Writes address and length of a text. */
function putText(to: usize, text: string): void {
  const length = String.UTF8.byteLength(text);
  const at = realloc(0, 0, 1, length);
  String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, at);
  store<u32>(to, <u32>at);
  store<u32>(to, length, 4);
}

function putTexts(to: usize, texts: string[]): void {
  const at = zeroed(<usize>texts.length * 8);
  for (let text = 0; text < texts.length; text++) putText(at + <usize>text * 8, texts[text]);
  store<u32>(to, <u32>at);
  store<u32>(to, texts.length, 4);
}

function putNumbers(to: usize, numbers: u32[]): void {
  const at = zeroed(<usize>numbers.length * 4);
  for (let number = 0; number < numbers.length; number++) store<u32>(at + <usize>number * 4, numbers[number]);
  store<u32>(to, <u32>at);
  store<u32>(to, numbers.length, 4);
}

function text(at: usize, length: u32): string {
  return String.UTF8.decodeUnsafe(at, length);
}

export function describe(): usize {
  const about: About = installed().about();
  const to = zeroed(56);
  putText(to, about.name);
  putText(to + 8, about.version);
  putText(to + 16, about.description);
  putText(to + 24, about.configSchema);
  store<u32>(to, about.effects, 32);
  store<u8>(to, about.failsClosed ? 1 : 0, 36);
  putTexts(to + 40, about.rejectCodes);
  return to;
}

export function configure(
  config: usize, configLength: u32, link: usize, linkLength: u32, source: usize, sourceLength: u32,
  hasSourceRegion: u32, sourceRegion: usize, sourceRegionLength: u32, target: usize, targetLength: u32,
  hasTargetRegion: u32, targetRegion: usize, targetRegionLength: u32, options: usize, optionsLength: u32,
): usize {
  const told = new Link();
  told.link = text(link, linkLength);
  told.source = text(source, sourceLength);
  told.sourceRegion = hasSourceRegion ? text(sourceRegion, sourceRegionLength) : null;
  told.target = text(target, targetLength);
  told.targetRegion = hasTargetRegion ? text(targetRegion, targetRegionLength) : null;
  for (let at: usize = options; at < options + <usize>optionsLength * 12; at += 12) {
    if (load<u32>(at) != RESIDENCY) continue;
    told.demandsResidency = load<u32>(at, 8) == 1 && load<u8>(load<u32>(at, 4)) == 1;
  }
  const plugin = installed();
  const mistake = plugin.configure(text(config, configLength), told);
  const to = zeroed(20);
  if (mistake !== null) {
    const at = zeroed(16);
    putText(at, mistake.path);
    putText(at + 8, mistake.message);
    store<u32>(to, 1);
    store<u32>(to, <u32>at, 4);
    store<u32>(to, 1, 8);
    return to;
  }
  const counters: Counter[] = plugin.counters();
  const list = zeroed(<usize>counters.length * 20);
  for (let at = 0; at < counters.length; at++) {
    const counter = list + <usize>at * 20;
    putText(counter, counters[at].name);
    putText(counter + 8, counters[at].rule);
    store<u8>(counter, counters[at].expected ? 1 : 0, 16);
  }
  store<u32>(to, <u32>list, 4);
  store<u32>(to, counters.length, 8);
  return to;
}

export function openTopic(topic: usize, topicLength: u32, partitions: u32, options: usize, optionsLength: u32): usize {
  const told = installed().openTopic(text(topic, topicLength), partitions);
  const to = zeroed(PLAN_BYTES);
  if (told === null) return to;
  const plan: TopicPlan = told;
  const failure = plan.failure;
  if (failure !== null) {
    store<u32>(to, 1);
    putText(to + 8, failure);
    return to;
  }
  const name = plan.name;
  if (name !== null) {
    store<u32>(to, 1, 8);
    putText(to + 12, name);
  }
  const needs = plan.needs;
  if (needs !== null) putNeeds(to, needs);
  putOptions(to + 104, plan);
  return to;
}

function putNeeds(to: usize, needs: Needs): void {
  store<u32>(to, 1, 24);
  putNumbers(to + 32, needs.columns());
  putTexts(to + 40, needs.headers);
  store<u8>(to, needs.allHeaders ? 1 : 0, 48);
  putTexts(to + 52, needs.fields);
  store<u32>(to, needs.effects, 60);
  putTexts(to + 64, needs.outputTopics);
  store<u32>(to, needs.valueMaxBytes, 72);
  if (needs.lookbackRecords == 0) return;
  store<u32>(to, 1, 80);
  store<u32>(to, needs.lookbackRecords, 88);
  store<u64>(to, needs.lookbackMillis, 96);
}

function putOptions(to: usize, plan: TopicPlan): void {
  const list = zeroed(24);
  let count: u32 = 0;
  const claims = plan.protects;
  if (claims !== null) {
    store<u32>(list, PROTECTS);
    putText(list + 4, claims);
    count++;
  }
  if (plan.lenientShapes) {
    const at = list + <usize>count * 12;
    const value = zeroed(1);
    store<u8>(value, 1);
    store<u32>(at, SHAPES);
    store<u32>(at, <u32>value, 4);
    store<u32>(at, 1, 8);
    count++;
  }
  store<u32>(to, <u32>list);
  store<u32>(to, count, 4);
}

export function process(
  topic: usize, topicLength: u32, partition: u32, count: u32, baseOffset: u64, mode: u32,
  options: usize, optionsLength: u32, origins: usize, originsLength: u32, columns: usize, columnsLength: u32,
  data: usize, dataLength: u32,
): usize {
  const batch = new Batch(text(topic, topicLength), partition, count, baseOffset, mode);
  for (let at: usize = 0; at < originsLength; at++) {
    const origin = origins + at * 8;
    batch.origins.push(text(load<u32>(origin), load<u32>(origin, 4)));
  }
  for (let at: u32 = 0; at + 2 < columnsLength; at += 3) {
    const place = columns + <usize>at * 4;
    const start = load<u32>(place, 4);
    const length = load<u32>(place, 8);
    if (<u64>start + <u64>length > <u64>dataLength) throw new Error("a column is outside the data");
    batch.put(load<u32>(place), data + <usize>start, length);
  }
  const plugin = installed();
  const record = new Record(batch);
  answer.clear();
  while (record.index < count) {
    const action = plugin.onRecord(record);
    if (action !== null) action.write(record.index, codes, answer);
    record.next();
  }
  plugin.endBatch();
  const to = zeroed(20);
  store<u32>(to, <u32>answer.ops.at, 4);
  store<u32>(to, answer.ops.length / 4, 8);
  store<u32>(to, <u32>answer.data.at, 12);
  store<u32>(to, answer.data.length, 16);
  return to;
}
