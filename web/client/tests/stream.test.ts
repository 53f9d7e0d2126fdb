/** Streams: the examples in tests/vectors/stream.json, readers that are cut anywhere, and the module around the rules. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mock, test } from 'node:test';
import fc from 'fast-check';
import type { Channel, ChannelState, Publication } from '../src/api.js';
import { SeawallError } from '../src/error.js';
import { Cell, notify } from '../src/observable.js';
import { answered, end, take, unread, wants, type Reading, type StreamEnd, type StreamFrame } from '../src/stream.js';
import { streams, type StreamPiece, type Streams } from '../src/streams.js';
import type { Frame } from '../src/wire.js';
import { client, fast, Server } from './fakes.js';
import { until } from './gateway.js';

type Step = { push: StreamFrame; reply?: never; end?: never } | { reply: StreamFrame; push?: never; end?: never } | { end: { stream: StreamEnd; data: unknown }; push?: never; reply?: never };
interface Case { name: string; steps: Step[]; does: string[]; asks: [number, number][]; view: object }
const { cases } = JSON.parse(readFileSync(new URL('../../../../tests/vectors/stream.json', import.meta.url), 'utf8')) as { cases: Case[] };

function follow(reading: Reading, step: Step): string {
  if (step.push) return take(reading, step.push);
  if (step.reply) return answered(reading, step.reply);
  end(reading, step.end.stream, step.end.data);
  return 'end';
}

test('stream.json: a client makes of a stream what the examples say', () => {
  for (const { name, steps, does, asks, view } of cases) {
    const reading = unread();
    const [done, asked]: [string[], number[][]] = [[], []];
    for (const step of steps) {
      done.push(follow(reading, step));
      if (!wants(reading)) continue;
      reading.asked = true;
      asked.push([reading.gen, reading.next]);
    }
    assert.deepEqual(done, does, name);
    assert.deepEqual(asked, asks, name);
    const { gen, next, text, events, state } = reading;
    assert.deepEqual({ gen, next, text, events: events.map(({ position, type, data }) => [position, type, data]), state }, view, name);
  }
});

/** A stream as the gateway has it: whole generations, of which a reader is sent pieces. */
const bytes = (text: string) => Buffer.byteLength(text);
const whole = (gen: number, text: string): StreamFrame => ({ channel: 'c', offset: 1, gen, at: 0, text, events: [], next: bytes(text), state: 'streaming' });

test('a reader that loses, repeats and reorders frames shows prefixes alone, and the whole text at the end', () => {
  const letters = fc.array(fc.constantFrom('a', 'é', '🌍', '\0', '"', '字'), { minLength: 1, maxLength: 30 });
  const fate = fc.array(fc.record({ at: fc.nat(60), is: fc.constantFrom('lost', 'twice', 'late', 'rejoin') }), { maxLength: 12 });
  fc.assert(fc.property(letters, fate, (pieces, fates) => {
    const reading = unread();
    const text = pieces.join('');
    let before = '';
    let [known, at] = ['', 0];
    const late: StreamFrame[] = [];
    const check = () => {
      assert.ok(text.startsWith(reading.text) && reading.text.startsWith(before), `${reading.text} after ${before} of ${text}`);
      before = reading.text;
    };
    for (const [index, piece] of pieces.entries()) {
      const frame: StreamFrame = { channel: 'c', offset: 1, gen: 1, at, text: piece, next: at + bytes(piece) };
      known += piece;
      at += bytes(piece);
      const happens = fates.find((one) => one.at === index)?.is;
      if (happens === 'late') late.push(frame);
      else if (happens !== 'lost') take(reading, frame);
      if (happens === 'twice') take(reading, frame);
      if (happens === 'rejoin') take(reading, whole(1, known));
      if (index % 3 === 0 && wants(reading)) answered(reading, whole(1, known));
      if (index % 4 === 0) for (const one of late.splice(0)) take(reading, one);
      check();
    }
    for (const one of late) take(reading, one);
    check();
    if (wants(reading) || reading.next < at) answered(reading, whole(1, known));
    assert.deepEqual([reading.text, reading.next, reading.missing], [text, at, false]);
  }));
});

/** A channel whose gateway is the test. */
class Room {
  readonly name = 'c1';
  readonly state = new Cell<ChannelState>({ phase: 'live' });
  readonly asked: [name: string | undefined, body: Record<string, unknown>][] = [];
  readonly listeners: Record<string, (value: never) => void> = {};
  answer: (body: Record<string, unknown>, name?: string) => Promise<unknown> = () => new Promise(() => {});
  pages: Publication[] = [];
  readonly owner = {
    taps: new Set<(frame: Frame) => void>(),
    reading: new Map<string, () => object>(),
    request: (body: Record<string, unknown>, name?: string) => {
      this.asked.push([name, body]);
      return this.answer(body, name);
    },
  };
  readonly streams: Streams;

  constructor(begun?: number[], answer?: Room['answer']) {
    if (answer) this.answer = answer;
    this.streams = streams(this as unknown as Channel, begun);
  }

  on(event: string, listener: (value: never) => void): void {
    this.listeners[event] = listener;
  }

  historyFails: SeawallError | undefined;

  async history(): Promise<object> {
    if (this.historyFails) throw this.historyFails;
    return { publications: this.pages };
  }

  push(more: Omit<StreamFrame, 'channel' | 'offset'>, offset = 59): void {
    notify(this.owner.taps, { stream: { channel: 'c1', offset, ...more } });
  }

  publish(offset: number, more: Partial<Publication>): void {
    (this.listeners['publication'] as (one: Publication) => void)({ channel: 'c1', offset, user: 'bot', time: 1, data: null, ...more } as Publication);
  }
}

const settle = () => new Promise(setImmediate);

test('a stream is open from its begin to its end, and shows the text in between', async () => {
  const room = new Room();
  const seen: string[] = [];
  room.publish(59, { stream: 'begun', data: { agent: 'triage' } });
  await settle();
  const [stream] = room.streams.value;
  assert.equal(stream!.begun!.user, 'bot');
  stream!.text.subscribe((text) => seen.push(text));
  for (const [at, text] of [[0, 'Hel'], [3, 'lo']] as const) room.push({ gen: 1, at, text, next: at + text.length });
  await settle();
  assert.deepEqual([seen, stream!.state.value], [['Hello'], 'streaming'], 'the pieces of one turn are shown together');
  room.push({ gen: 1, state: 'paused' });
  await settle();
  assert.equal(stream!.state.value, 'paused');
  room.publish(75, { edits: 59, stream: 'completed', data: { text: 'Hello!' } });
  room.push({ gen: 1, at: 5, text: '!', next: 6 });
  await settle();
  assert.deepEqual([room.streams.value, stream!.text.value, stream!.state.value], [[], 'Hello!', 'completed']);
});

test('while a channel is read from the log, only a frame says that a stream is open', async () => {
  const room = new Room();
  room.state.set({ phase: 'syncing' });
  room.publish(1, { stream: 'begun' });
  room.publish(2, { edits: 1, stream: 'failed' });
  room.publish(3, { stream: 'begun' });
  await settle();
  assert.equal(room.streams.value.length, 0);
  room.push({ gen: 1, at: 0, text: 'so far', events: [], next: 6, state: 'streaming' }, 3);
  room.push({ gen: 1, at: 0, text: 'late', events: [], next: 4, state: 'streaming' }, 1);
  await settle();
  assert.deepEqual(room.streams.value.map(({ offset, text }) => [offset, text.value]), [[3, 'so far']]);
});

test('streams that began before they are followed are requested', async () => {
  const room = new Room([59, 61], async ({ offset }) => {
    if (offset === 61) throw new SeawallError({ code: 'ended', message: '', state: 'completed', edit: 70 });
    return { channel: 'c1', offset, gen: 2, at: 0, text: 'so far', events: [], next: 6, state: 'streaming' };
  });
  await settle();
  await settle();
  assert.deepEqual(room.asked.map(([name, { offset, after }]) => [name, offset, after]), [['stream', 59, 0], ['stream', 61, 0]]);
  room.push({ gen: 2, at: 6, text: ' and', next: 10 });
  await settle();
  assert.deepEqual(room.streams.value.map(({ offset, text }) => [offset, text.value]), [[59, 'so far and']]);
});

test('a hole is requested, again after an outage, and never after a refusal', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const room = new Room();
  const turns = async () => { for (let turn = 0; turn < 9; turn++) await Promise.resolve(); };
  type Fails = ConstructorParameters<typeof SeawallError>[0] | undefined;
  let fails = { code: 'unavailable', message: '', retryMs: 2_000 } as Fails;
  room.answer = ({ after }) => fails ? Promise.reject(new SeawallError(fails)) : Promise.resolve({ gen: 1, at: after, text: 'bc', events: [], next: 3, state: 'streaming' });
  room.push({ gen: 1, at: 0, text: 'a', next: 1 });
  room.push({ gen: 1, at: 3, text: 'd', next: 4 });
  await turns();
  assert.deepEqual(room.asked, [['stream', { channel: 'c1', offset: 59, gen: 1, after: 1 }]]);
  fails = undefined;
  mock.timers.tick(1_999);
  await turns();
  assert.equal(room.asked.length, 1);
  mock.timers.tick(1);
  await turns();
  assert.equal(room.streams.value.map(({ text }) => text.value).join(), 'abcd');
  fails = { code: 'forbidden', message: '' };
  room.push({ gen: 1, at: 9, text: 'j', next: 10 });
  await turns();
  room.push({ gen: 1, at: 10, text: 'k', next: 11 });
  mock.timers.tick(600_000);
  await turns();
  assert.equal(room.asked.length, 3);
  mock.timers.reset();
});

test('a stream that ended while the connection was away is found by asking for it', async () => {
  const room = new Room();
  room.push({ gen: 1, at: 0, text: 'one', next: 3 }, 1);
  room.push({ gen: 1, at: 0, text: 'two', next: 3 }, 2);
  room.push({ gen: 1, at: 0, text: 'three', next: 5 }, 3);
  await settle();
  const [one, two, three] = room.streams.value;
  room.state.set({ phase: 'waiting' });
  room.state.set({ phase: 'syncing' });
  room.push({ gen: 1, at: 0, text: 'one more', events: [], next: 8, state: 'streaming' }, 1);
  room.pages = [{ channel: 'c1', offset: 9, user: 'bot', time: 1, edits: 2, data: { text: 'two!' } }];
  room.answer = ({ offset }) => Promise.reject(new SeawallError(offset === 2 ? { code: 'ended', message: '', state: 'completed', edit: 9 } : { code: 'not_found', message: '' }));
  (room.listeners['synced'] as () => void)();
  await settle();
  assert.deepEqual(room.asked.map(([, { offset }]) => offset), [2, 3]);
  assert.deepEqual(room.streams.value, [one]);
  assert.deepEqual([two!.state.value, two!.text.value, three!.state.value], ['completed', 'two!', 'interrupted']);
});

test('a new log ends the streams of the old one, and has its own at the same offsets', async () => {
  const room = new Room();
  room.push({ gen: 1, at: 0, text: 'old', next: 3 });
  await settle();
  const [old] = room.streams.value;
  (room.listeners['reset'] as () => void)();
  room.push({ gen: 1, at: 0, text: 'new', events: [], next: 3, state: 'streaming' });
  await settle();
  assert.deepEqual([old!.state.value, room.streams.value.map(({ text }) => text.value)], ['interrupted', ['new']]);
});

test('an iteration delivers what is there, what comes, and ends with the stream', async () => {
  const room = new Room();
  const pieces: StreamPiece[] = [];
  room.push({ gen: 1, at: 0, text: 'Hel', next: 3 });
  await settle();
  const [stream] = room.streams.value;
  const done = (async () => { for await (const piece of stream!) pieces.push(piece); })();
  await settle();
  room.push({ gen: 1, at: 3, event: { type: 'started', data: 1 }, next: 4 });
  await settle();
  room.push({ gen: 1, at: 0, text: 'Hello', events: [[3, 'started', 1]], next: 6, state: 'streaming' });
  await settle();
  room.push({ gen: 2, at: 0, text: 'B', next: 1 });
  await settle();
  room.publish(75, { edits: 59, stream: 'completed', data: { text: 'Bye' } });
  await done;
  assert.deepEqual(pieces, [{ text: 'Hel' }, { event: { type: 'started', data: 1, position: 3 } }, { text: 'lo' }, { restarted: true }, { text: 'B' }, { text: 'ye' }]);
});

test('cancel asks the gateway, and an end that was first is as good', async () => {
  const room = new Room();
  room.push({ gen: 1, at: 0, text: 'a', next: 1 });
  await settle();
  const [stream] = room.streams.value;
  room.answer = () => Promise.resolve({});
  await stream!.cancel();
  assert.deepEqual(room.asked, [['cancel', { channel: 'c1', offset: 59 }]]);
  room.answer = () => Promise.reject(new SeawallError({ code: 'ended', message: '', state: 'completed', edit: 7 }));
  await stream!.cancel();
  room.answer = () => Promise.reject(new SeawallError({ code: 'forbidden', message: 'no' }));
  await assert.rejects(stream!.cancel(), { code: 'forbidden' });
  room.publish(75, { deletes: 59 });
  await stream!.cancel();
  assert.equal(room.asked.length, 3, 'an ended stream is not cancelled');
  assert.equal(stream!.state.value, 'deleted');
});

test('streams end with their handle, and frames of other channels are not taken', async () => {
  const room = new Room();
  notify(room.owner.taps, { stream: { channel: 'c2', offset: 1, gen: 1, at: 0, text: 'x', next: 1 } });
  room.push({ gen: 1, at: 0, text: 'a', next: 1 });
  await settle();
  assert.equal(room.streams.value.length, 1);
  room.state.set({ phase: 'left' });
  assert.deepEqual([room.owner.taps.size, room.owner.reading.size, room.streams.value], [0, 0, []]);
});

test('the next connection is given what is read of the open streams', () => {
  const room = new Room();
  const reading = () => room.owner.reading.get('c1')!();
  for (const offset of [59, 60, 61]) room.publish(offset, { stream: 'begun', data: {} });
  assert.deepEqual(reading(), {}, 'nothing was read of them');
  room.push({ gen: 1, at: 0, text: 'hé', next: 3 });
  room.push({ gen: 2, at: 0, text: 'a', next: 1 }, 60);
  assert.deepEqual(reading(), { 59: [1, 3], 60: [2, 1] });
  room.push({ gen: 1, at: 5, text: 'no', next: 7 });
  assert.deepEqual(reading(), { 59: [1, 3], 60: [2, 1] }, 'a piece that does not adjoin is not read');
  room.publish(62, { edits: 60 });
  assert.deepEqual(reading(), { 59: [1, 3] });
  for (let offset = 100; offset < 400; offset++) room.push({ gen: 1, at: 0, text: 'a', next: 1 }, offset);
  assert.equal(Object.keys(reading()).length, 256, 'the gateway takes no more');
});

test('an iteration ends when its channel leaves, and when the client closes', async (t) => {
  const server = new Server();
  const it = client(t, server, { clock: fast() });
  const rooms = [it.channel('a'), it.channel('b')];
  const open = rooms.map((room) => streams(room));
  await until('live', () => rooms.every(({ state }) => state.value.phase === 'live'));
  for (const channel of ['a', 'b']) server.sockets.at(-1)!.deliver({ stream: { channel, offset: 1, gen: 1, at: 0, text: channel, next: 1 } });
  await settle();
  const seen: string[] = [];
  const over = open.map(async ({ value: [stream] }, index) => {
    for await (const { text } of stream!) seen.push(text!);
    seen.push(`${index} ${stream!.state.value}`);
  });
  await settle();
  rooms[0]!.leave();
  await over[0];
  assert.deepEqual(seen, ['a', 'b', '0 streaming'], 'the stream goes on, without this reader');
  it.close();
  await over[1];
  assert.equal(seen.at(-1), '1 streaming');
});

test('the end of a stream that has ended is read once history answers, and one that comes late corrects what was shown', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const turns = async () => { for (let turn = 0; turn < 20; turn++) await Promise.resolve(); };
  const room = new Room();
  for (const offset of [1, 2, 3]) room.push({ gen: 1, at: 0, text: 'half', next: 4 }, offset);
  await turns();
  const [one, two, three] = room.streams.value;
  room.state.set({ phase: 'syncing' });
  room.state.set({ phase: 'waiting' });
  room.historyFails = new SeawallError({ code: 'rate_limited', message: '', retryMs: 2_000 });
  room.answer = ({ offset }) => Promise.reject(new SeawallError(offset === 3 ? { code: 'not_found', message: '' } : { code: 'ended', message: '', state: 'completed', edit: 8 + Number(offset) }));
  (room.listeners['synced'] as () => void)();
  await turns();
  assert.deepEqual([one, two, three].map((each) => each!.state.value), ['streaming', 'streaming', 'interrupted']);
  room.historyFails = undefined;
  room.pages = [{ channel: 'c1', offset: 9, user: 'bot', time: 1, edits: 1, data: { text: 'the whole' } }];
  mock.timers.tick(2_000);
  await turns();
  assert.deepEqual([one!.state.value, one!.text.value, two!.state.value, two!.text.value], ['completed', 'the whole', 'completed', 'half']);
  room.publish(10, { edits: 2, stream: 'completed', data: { text: 'the second' } });
  room.publish(11, { edits: 3, stream: 'failed', data: { text: 'the third' } });
  await turns();
  assert.deepEqual([two!.text.value, three!.text.value, three!.state.value], ['the second', 'the third', 'failed']);
  mock.timers.reset();
});
