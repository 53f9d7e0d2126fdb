/**
 * The client's protocol as a pure function: `step(state, event, now, random)`.
 *
 * It has no clock, socket or storage and modifies none of its arguments. The caller performs the effects in order,
 * feeds their results back as events, and sends `wake` at `wakeAt(state)`.
 */

import type { Failure } from './api.js';
import * as channels from './channels.js';
import { ending } from './close.js';
import * as connection from './connection.js';
import { subjectOf } from './identity.js';
import { ANSWER_MS, REQUESTS_MAX, REQUEST_MS, SIGNAL_REST_MS, WINDOW } from './limits.js';
import * as outbox from './outbox.js';
import { Turn, type Ask, type Effect, type Event, type SessionState, type Watcher } from './state.js';
import { pageOf, type Frame } from './wire.js';

/** Returns the initial state. `renewable`: there is a token callback. `account`: the user, if the app knows it. */
export function begin({ client, token, renewable = false, account, affinity = false, watcher, reading }: { client?: string; token?: string; renewable?: boolean; account?: string; affinity?: boolean; watcher?: Watcher; reading?: SessionState['reading'] }): SessionState {
  return {
    client, token, renewable, account, affinity, watcher, reading, idle: 0, steppedAt: Infinity, subject: account ?? subjectOf(token), user: token === undefined && !renewable ? 'anonymous' : undefined,
    asking: 0, unjudged: false, view: { phase: 'connecting', attempt: 0 },
    status: { level: 'unknown', revision: 0, dependencies: [], lost: [] },
    offline: false, cautious: false, attempt: 0, dialledAt: -Infinity, hinted: false, notBefore: 0, serial: 0, pumpAt: Infinity,
    links: new Map(), subs: new Map(), asks: new Map(), requests: new Map(), outbox: [],
  };
}

/** Returns the next state and the effects of an event. `now` is Unix milliseconds and never decreases; `random` is from [0, 1). */
export function step(state: SessionState, event: Event, now: number, random: number): [SessionState, Effect[]] {
  const t = new Turn(state, now, random);
  t.s.watcher?.pass(t.s, now, wakeAt(state));
  t.s.pumpAt = Infinity;
  handle(t, event);
  overdue(t);
  if (t.s.view.phase === 'closed') failRequests(t);
  channels.follow(t);
  pages(t);
  outbox.send(t);
  leave(t);
  return [t.s, t.effects];
}

function handle(t: Turn, event: Event): void {
  switch (event.is) {
    case 'connect': return connection.reconnect(t);
    case 'close': return connection.stop(t, { code: 1000, reason: 'closed', message: 'The app closed the client.' });
    case 'wake': return;
    case 'visible': return connection.bringForward(t);
    case 'network': return connection.network(t, event.online);
    case 'opened': return connection.opened(t, event.link);
    case 'frame': return frame(t, event.link, event.frame);
    case 'closed': return connection.lose(t, event.link, ending(event.code, event.reason, undefined, t.s.links.get(event.link)?.phase !== 'opening'));
    case 'token': return connection.tokenCame(t, event.token, event.message);
    case 'subscribe': return channels.subscribe(t, event);
    case 'unsubscribe': return channels.unsubscribe(t, event.channel);
    case 'publish': return outbox.queue(t, event);
    case 'saved': return outbox.saved(t, event.key);
    case 'restored': return outbox.restore(t, event.entries);
    case 'retry': return outbox.retry(t, event.key, event.newKey);
    case 'discard': return outbox.discard(t, event.key);
    case 'history': return request(t, event);
  }
}

/** Handles a frame: the reply to a command sent on this link, or a push. */
function frame(t: Turn, id: number, frame: Frame): void {
  const { s } = t;
  const link = s.links.get(id);
  if (!link) return;
  connection.heard(t, link);
  const ask = s.asks.get(frame.id!);
  if (frame.id !== undefined) {
    if (ask?.link !== id) return;
    s.asks.delete(frame.id);
    return reply(t, ask, frame);
  }
  // Signals are the only commands without an id.
  if (frame.error?.code === 'rate_limited') link.quiet = t.now + SIGNAL_REST_MS;
  if (frame.bye) {
    link.bye = frame.bye;
    link.until = t.now + 3000;
  }
  if (frame.status && id === s.link) s.status = frame.status;
  if (frame.flags && id === s.link) s.flags = frame.flags.on;
  if (frame.refreshed && id === s.link) connection.granted(t, frame.refreshed);
  if (frame.drain && id === s.link) connection.drain(t, frame.drain);
  channels.pushed(t, id, frame);
}

function reply(t: Turn, ask: Ask, frame: Frame): void {
  switch (ask.for) {
    case 'connect': return frame.connected ? connection.connected(t, ask.link, frame.connected) : frame.error && connection.refused(t, ask.link, frame.error);
    case 'refresh': return ask.link === t.s.link ? connection.refreshed(t, frame) : undefined;
    case 'subscribe':
    case 'fill': return channels.answered(t, ask, frame);
    case 'publish': return outbox.answered(t, ask.key, frame, t.s.links.get(ask.link));
    case 'page': {
      // The reply has one member in addition to `id`.
      const { id, error, history, ...more } = frame;
      return answer(t, ask.request, history ? pageOf(history) : Object.values(more)[0], error && channels.failure(error));
    }
    case 'leave': return frame.unsubscribed && channels.freed(t);
    case 'probe': return;
  }
}

/** Handles all timeouts and schedules that are due. */
function overdue(t: Turn): void {
  const { s, now } = t;
  for (const { id, until, phase, heardAt, silenceMs } of [...s.links.values()]) {
    const silent = phase === 'ready' && now >= heardAt + silenceMs;
    if (now >= until || silent) connection.lose(t, id, { code: 1006, reason: 'silent', message: 'The gateway sent nothing.' });
  }
  for (const { link, at } of [...s.asks.values()]) {
    if (now >= at + ANSWER_MS) connection.lose(t, link, { code: 1006, reason: 'unanswered', message: 'The gateway did not answer.' });
  }
  if (now >= s.stableAt!) {
    s.stableAt = undefined;
    s.attempt = 0;
    s.refusedAt = undefined;
  }
  if (now >= s.refreshAt!) connection.refresh(t);
  if (s.move && now >= s.move.deadline) s.move = undefined;
  if (now >= s.retryAt! || (s.next === undefined && now >= s.move?.at!)) connection.dial(t);
  for (const [id, { until }] of s.requests) {
    if (now >= until) answer(t, id, undefined, { code: 'timeout', message: `No reply within ${REQUEST_MS / 1000} s.` });
  }
}

/** Returns the latest time at which `wake` is due. */
export function wakeAt(s: SessionState): number {
  let at = Math.min(s.pumpAt, s.stableAt ?? Infinity, s.retryAt ?? Infinity, s.refreshAt ?? Infinity, outbox.oldest(s.outbox));
  const by = (time: number) => { at = Math.min(at, time); };
  if (s.move) by(s.next === undefined ? s.move.at : s.move.deadline);
  for (const link of s.links.values()) by(Math.min(link.until, link.phase === 'ready' ? link.heardAt + link.silenceMs : Infinity));
  for (const ask of s.asks.values()) by(ask.at + ANSWER_MS);
  for (const request of s.requests.values()) by(request.until);
  return at;
}

function request(t: Turn, { request, body, name }: Event & { is: 'history' }): void {
  // The next connection begins with it, even if no reply comes.
  if (name === 'absent') channels.enter(t, { name, body });
  if (t.s.requests.size >= REQUESTS_MAX) {
    return t.do({ do: 'answer', request, failure: { code: 'too_many', message: `${REQUESTS_MAX} requests are in progress: await them first.` } });
  }
  t.s.requests.set(request, { body, name, until: t.now + REQUEST_MS, sent: false });
}

/** Sends the apps' history requests that are due. */
function pages(t: Turn): void {
  const { s } = t;
  const link = t.serving();
  if (!link) return;
  let room = WINDOW;
  for (const ask of s.asks.values()) if (ask.for === 'page') room -= 1;
  for (const [id, request] of s.requests) {
    if (request.sent || room <= 0 || !t.due(link.rest)) continue;
    room -= 1;
    request.sent = true;
    t.ask(link.id, { for: 'page', request: id }, request.name ?? 'history', request.body);
  }
}

function answer(t: Turn, request: number, page?: object, failure?: Failure): void {
  const asked = t.s.requests.get(request);
  if (!asked) return;
  t.s.requests.delete(request);
  if (!failure) channels.enter(t, asked);
  t.do({ do: 'answer', request, page, failure });
}

function failRequests(t: Turn): void {
  for (const id of t.s.requests.keys()) answer(t, id, undefined, { code: 'closed', message: 'The connection is closed for good.' });
}

/** Closes a replaced link once nothing depends on it. */
function leave(t: Turn): void {
  const { s } = t;
  for (const { id, phase } of [...s.links.values()]) {
    const asked = [...s.asks.values()].some((ask) => ask.link === id && ask.for === 'publish');
    if (phase === 'leaving' && !asked && channels.settled(t)) connection.drop(t, id);
  }
}
