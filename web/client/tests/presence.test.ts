/** The roster of a channel: the examples in tests/vectors/presence.json, and the commands around it. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mock, test } from 'node:test';
import type { Channel, ChannelState, PresenceFrame } from '../src/api.js';
import { Cell } from '../src/observable.js';
import { presence, type Presence } from '../src/presence.js';
import { Bench } from './bench.js';

interface View { name: string; pushes: string[]; view: Record<string, unknown> & { members: object }; events: string[]; asks: number }
const { views } = JSON.parse(readFileSync(new URL('../../../../tests/vectors/presence.json', import.meta.url), 'utf8')) as { views: View[] };

/** A channel whose gateway is the test: `page` answers the reads of pages. */
class Room {
  readonly state = new Cell<ChannelState>({ phase: 'waiting' });
  readonly asked: [name: string | undefined, body: object][] = [];
  readonly name = 'c1';
  page: (body: { after?: string }) => Promise<unknown> = () => new Promise(() => {});
  readonly owner = {
    request: (body: { after?: string }, name?: string) => {
      this.asked.push([name, body]);
      return name === 'presence' ? this.page(body) : Promise.resolve({});
    },
  };
  take: (frame: PresenceFrame) => void = () => {};

  on(_: 'presence', listener: (frame: PresenceFrame) => void): void {
    this.take = listener;
  }

  roster(): [Presence, string[]] {
    const roster = presence(this as unknown as Channel);
    this.state.set({ phase: 'live' });
    const events: string[] = [];
    for (const event of ['join', 'leave', 'state'] as const) roster.on(event, ({ user }) => events.push(`${event} ${user}`));
    return [roster, events];
  }
}

test('presence.json: a client makes of its pushes what the examples say', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  for (const { name, pushes, view, events, asks } of views) {
    const room = new Room();
    const [roster, seen] = room.roster();
    for (const push of pushes) {
      if (push === 'lost') room.state.set({ phase: 'waiting' });
      else room.take(JSON.parse(push) as PresenceFrame);
    }
    mock.timers.tick(1_500);
    const { members, ...more } = roster.value;
    assert.deepEqual({ ...more, members: Object.fromEntries(members) }, view, name);
    assert.deepEqual(seen.sort(), [...events].sort(), name);
    assert.equal(room.asked.length, asks, name);
  }
  mock.timers.reset();
});

const head = (revision: number, users: number) => ({ channel: 'c1', revision, complete: true, users, connections: users });
const user = (name: string) => ({ user: name, connections: 1, since: 1 });

test('a long roster is read page by page, and a change meanwhile is not lost', async () => {
  const room = new Room();
  let answer: (page: unknown) => void = () => {};
  room.page = () => new Promise((resolve) => { answer = resolve; });
  const [roster, seen] = room.roster();
  room.take({ ...head(1, 4), members: [user('a'), user('b')], more: true });
  assert.deepEqual(room.asked, [['presence', { channel: 'c1', after: 'b' }]]);
  room.take({ ...head(2, 4), joined: [user('e')], left: ['a'] });
  answer({ ...head(2, 4), members: [user('c'), user('e')] });
  await new Promise(setImmediate);
  assert.deepEqual([...roster.value.members.keys()].sort(), ['b', 'c', 'e']);
  assert.deepEqual(seen.sort(), ['join a', 'join b', 'join c', 'join e', 'leave a']);
});

test('a roster that is followed later than its channel is read, and then follows the changes', async () => {
  const room = new Room();
  room.state.set({ phase: 'live' });
  room.page = () => Promise.resolve({ ...head(3, 2), members: [user('a'), user('b')] });
  const [roster] = room.roster();
  await new Promise(setImmediate);
  assert.deepEqual([[...roster.value.members.keys()], roster.value.complete], [['a', 'b'], true]);
  room.take({ ...head(4, 1), left: ['b'] });
  assert.deepEqual([[...roster.value.members.keys()], room.asked.length], [['a'], 1]);
});

test('users who left a long roster while the connection was away are not on it', async () => {
  const room = new Room();
  const [roster, seen] = room.roster();
  let page: unknown = { ...head(1, 3), members: [user('c')] };
  room.page = () => Promise.resolve(page);
  room.take({ ...head(1, 3), members: [user('a'), user('b')], more: true });
  await new Promise(setImmediate);
  assert.deepEqual([...roster.value.members.keys()], ['a', 'b', 'c']);
  room.state.set({ phase: 'waiting' });
  page = { ...head(7, 3), members: [user('e')] };
  room.take({ ...head(7, 3), members: [user('b'), user('d')], more: true });
  assert.deepEqual([roster.value.complete, roster.value.members.size], [false, 4], 'the list of before stays until all pages are read');
  await new Promise(setImmediate);
  assert.deepEqual([roster.value.complete, [...roster.value.members.keys()]], [true, ['b', 'd', 'e']]);
  assert.deepEqual(seen.sort(), ['join a', 'join b', 'join c', 'join d', 'join e', 'leave a', 'leave c']);
});

test('a list is not complete before all its pages were read, and a page that fails is asked for again', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const room = new Room();
  let fails = true;
  room.page = ({ after }) => fails ? Promise.reject(new Error('refused')) : Promise.resolve({ ...head(2, 4), members: after === 'b' ? [user('c'), user('e')] : [] });
  const [roster] = room.roster();
  const settle = async () => { for (let turn = 0; turn < 9; turn++) await Promise.resolve(); };
  room.take({ ...head(1, 3), members: [user('a'), user('b')], more: true });
  assert.equal(roster.value.complete, false);
  await settle();
  room.take({ ...head(2, 4), joined: [user('e')] });
  assert.deepEqual([roster.value.complete, [...roster.value.members.keys()]], [false, ['a', 'b', 'e']], 'c is missing');
  mock.timers.tick(3_000);
  await settle();
  assert.equal(room.asked.length, 2, 'again after two seconds, half more or less');
  room.take({ ...head(3, 4) });
  assert.equal(roster.value.complete, false, 'numbers alone bring no members');
  fails = false;
  mock.timers.tick(6_000);
  await settle();
  assert.deepEqual([roster.value.complete, [...roster.value.members.keys()].sort()], [true, ['a', 'b', 'c', 'e']]);
  fails = true;
  room.take({ ...head(5, 4), left: ['a'] });
  assert.equal(roster.value.complete, false, 'a revision was missed');
  await settle();
  room.state.set({ phase: 'waiting' });
  mock.timers.tick(600_000);
  await settle();
  assert.equal(room.asked.length, 4, 'a lost connection brings a snapshot anyway');
  mock.timers.reset();
});

test('the roster ends with its handle, and is not complete while the connection is away', () => {
  const room = new Room();
  const [roster] = room.roster();
  room.take({ ...head(1, 1), members: [user('a')] });
  assert.equal(roster.value.complete, true);
  room.state.set({ phase: 'waiting' });
  assert.deepEqual([roster.value.complete, roster.value.members.size], [false, 1]);
});

test('a subscription takes its use of the roster to every connection, with the last state', () => {
  const bench = new Bench().online();
  bench.tell({ is: 'subscribe', channel: 'c1', present: { state: 'active' }, watch: 'members' });
  const { id, body } = bench.asked('subscribe');
  assert.deepEqual(body, { channel: 'c1', present: { state: 'active' }, watch: 'members' });
  bench.frame({ id, subscribed: { channel: 'c1', epoch: 'e', head: 0, floor: 1 } });
  bench.frame({ presence: { ...head(1, 1), members: [user('u')] } });
  assert.equal(bench.take('emit').filter(({ event }) => event === 'presence').length, 1);
  bench.tell({ is: 'history', request: 1, body: { channel: 'c1', state: 'away' }, name: 'present' });
  const present = bench.asked('present');
  assert.deepEqual(present.body, { channel: 'c1', state: 'away' });
  bench.frame({ id: present.id });
  assert.equal(bench.take('answer').length, 1);
  bench.closed(1006).pass(500).opened();
  const [cursor] = bench.asked('connect').body['recover'] as object[];
  assert.deepEqual(cursor, { channel: 'c1', epoch: 'e', offset: 0, present: { state: 'away' }, watch: 'members' });
  const other = new Bench().online();
  other.tell({ is: 'subscribe', channel: 'c1', present: {} });
  const begun = other.asked('subscribe').id;
  other.frame({ id: begun, subscribed: { channel: 'c1', epoch: 'e', head: 0, floor: 1 } });
  other.tell({ is: 'history', request: 1, body: { channel: 'c1' }, name: 'absent' });
  other.closed(1006).pass(500).opened();
  assert.deepEqual(other.asked('connect').body['recover'], [{ channel: 'c1', epoch: 'e', offset: 0 }]);
});

test('a state that the gateway refused is not part of the next subscribe', () => {
  for (const code of ['forbidden', 'too_large', 'overloaded'] as const) {
    const bench = new Bench().online();
    bench.tell({ is: 'subscribe', channel: 'c1', present: { state: 'active' } });
    const { id } = bench.asked('subscribe');
    bench.frame({ id, subscribed: { channel: 'c1', epoch: 'e', head: 0, floor: 1 } });
    bench.tell({ is: 'history', request: 1, body: { channel: 'c1', state: 'away' }, name: 'present' });
    bench.frame({ id: bench.asked('present').id, error: { code, message: 'no' } });
    bench.closed(1006).pass(500).opened();
    const [cursor] = bench.asked('connect').body['recover'] as object[];
    assert.deepEqual(cursor, { channel: 'c1', epoch: 'e', offset: 0, present: { state: 'active' } });
  }
});
