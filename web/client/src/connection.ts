/** Making a connection, moving to another one, and what follows when one ends. */

import type { Ending } from './api.js';
import { delay, nextAttempt } from './backoff.js';
import { begin, interrupt } from './channels.js';
import { advice, advised, ending } from './close.js';
import { CONNECT_BYTES, CONNECT_MS, FRAME_BYTES, HURRY_MS, LEAVE_MS, PROBE_MS, RECOVER_BYTES } from './limits.js';
import type { Link, Turn } from './state.js';
import type { Connected, Frame, WireError } from './wire.js';

/** Begins a connection, unless one is being made. */
export function dial(t: Turn): void {
  const { s, now } = t;
  s.retryAt = undefined;
  if (s.next !== undefined) return;
  const id = (s.next = ++s.serial);
  if (s.renewable && now >= s.expires!) s.token = undefined;
  const ask = s.renewable && s.token === undefined;
  s.dialledAt = now;
  s.links.set(id, {
    id, phase: ask ? 'token' : 'opening', until: now + CONNECT_MS, heardAt: now, silenceMs: 0, bucket: 0, filledAt: now, rest: 0, quiet: 0,
  });
  if (!ask) t.do({ do: 'open', link: id });
  else askToken(t);
  if (s.link === undefined) s.view = { phase: 'connecting', attempt: s.attempt, because: 'because' in s.view ? s.view.because : undefined };
}

function askToken(t: Turn): void {
  const { s, now } = t;
  if (now < s.asking) return;
  s.asking = now + CONNECT_MS;
  t.do({ do: 'token' });
}

/** The callback has answered: the connection that waits for it is opened, and the one that serves is told. */
export function tokenCame(t: Turn, token: string | undefined, message?: string): void {
  const { s, now } = t;
  const next = s.links.get(s.next!);
  s.asking = 0;
  if (token !== undefined) s.token = token;
  if (next?.phase === 'token') {
    if (token === undefined) lose(t, next.id, { code: 1006, reason: 'no_token', message });
    else {
      next.phase = 'opening';
      t.do({ do: 'open', link: next.id });
    }
  } else if (s.link !== undefined) {
    if (token === undefined) s.refreshAt = now + CONNECT_MS;
    else show(t);
  }
}

/** Has the gateway judge the token that the callback gave. */
function show(t: Turn): void {
  const { s } = t;
  s.unjudged = true;
  s.refreshAt = undefined;
  t.ask(s.link!, { for: 'refresh' }, 'refresh', { token: s.token });
}

/** The socket is open. That is no success yet: `connected` is. */
export function opened(t: Turn, id: number): void {
  const { s } = t;
  const link = s.links.get(id);
  if (link?.phase !== 'opening') return;
  link.phase = 'greeting';
  const recover: object[] = [];
  let room = Math.min(RECOVER_BYTES, (s.limits?.frame_bytes || FRAME_BYTES) - CONNECT_BYTES - (s.token?.length ?? 0));
  for (const { name, epoch, last } of s.subs.values()) {
    if (epoch === undefined || s.cautious || recover.length >= (s.limits?.subscriptions || 128)) continue;
    room -= name.length + epoch.length + 60;
    if (room > 0) recover.push({ channel: name, epoch, offset: last });
  }
  t.ask(id, { for: 'connect' }, 'connect', { token: s.token, client: s.client, recover });
}

/** The new connection serves from here on. One it replaces is left as soon as nothing hangs on it. */
export function connected(t: Turn, id: number, told: Connected): void {
  const { s, now } = t;
  const link = s.links.get(id)!;
  const old = s.links.get(s.link!);
  const { user, connection, instance, limits, expires, expires_in_ms } = told;
  const lost = told.recovered.some((one) => one.because === 'epoch_changed');
  Object.assign(link, { phase: 'ready', until: Infinity, silenceMs: 2 * told.ping_ms, bucket: limits.publishes_burst });
  s.next = s.move = undefined;
  s.link = id;
  s.user = user;
  s.limits = limits;
  s.cautious = s.unjudged = false;
  s.stableAt = now + told.stable_ms;
  s.status = told.status;
  s.view = { phase: 'online', session: { user, connection, instance, limits, expires } };
  expiresIn(t, expires_in_ms);
  interrupt(t);
  if (old && lost) drop(t, old.id);
  else if (old) Object.assign(old, { phase: 'leaving', until: now + LEAVE_MS });
  for (const one of told.recovered) begin(t, one, id);
  // What the old one refused because it goes is not refused by the new one.
  if (old) s.outbox = s.outbox.map((entry) => (entry.error?.code === 'draining' ? { ...entry, rest: 0 } : entry));
}

/** `connect` was answered with an error. One that does not pass may be the token's fault. */
export function refused(t: Turn, id: number, error: WireError): void {
  const { s } = t;
  s.cautious = error.code === 'too_large';
  if (s.renewable && error.retry_ms === undefined) s.token = undefined;
  lose(t, id, { code: 1006, reason: error.code, message: error.message, dependency: error.dependency, retryMs: advised(error.retry_ms) });
}

/** A token is asked for in good time, spread. The gateway says how long it lasts: the clock here may be far from its own. */
function expiresIn(t: Turn, left = Infinity): void {
  t.s.expires = t.now + left;
  const lead = Math.min(60_000, left / 5) * (1 + t.random);
  t.s.refreshAt = t.s.renewable ? t.now + Math.max(10_000, left - lead) : undefined;
}

/** The reply to `refresh`. A token that could not be judged is shown again; for one that is bad the callback is asked again. */
export function refreshed(t: Turn, { refreshed, error }: Frame): void {
  const { s } = t;
  const later = (ms: number) => t.now + ms * (1 + t.random);
  if (refreshed && 'session' in s.view) {
    s.view = { ...s.view, session: { ...s.view.session, expires: refreshed.expires } };
    expiresIn(t, refreshed.expires_in_ms);
    s.unjudged = false;
  } else if (error?.retry_ms !== undefined) s.refreshAt = later(Math.max(1000, error.retry_ms));
  else {
    s.token = undefined;
    s.unjudged = false;
    s.refreshAt = later(CONNECT_MS);
  }
}

/** It is time for a fresh token. */
export function refresh(t: Turn): void {
  if (t.s.unjudged) return show(t);
  // A callback that does not answer is asked again.
  t.s.refreshAt = t.now + CONNECT_MS;
  askToken(t);
}

/** Ends a connection from this side and forgets what it was asked. */
export function drop(t: Turn, id: number): void {
  const { s } = t;
  const link = s.links.get(id);
  if (!link) return;
  s.links.delete(id);
  if (link.phase === 'token') s.asking = 0;
  else t.do({ do: 'close', link: id });
  for (const [ask, { link, ...was }] of s.asks) {
    if (link !== id) continue;
    s.asks.delete(ask);
    if (was.for === 'page' && s.requests.has(was.request)) s.requests.get(was.request)!.sent = false;
    if (was.for === 'publish') s.outbox = s.outbox.map((entry) => (entry.key === was.key ? { ...entry, state: 'queued' } : entry));
  }
}

/** A connection has ended, or is given up: what now? */
export function lose(t: Turn, id: number, how: Ending): void {
  const { s, now } = t;
  const bye = s.links.get(id)?.bye;
  const because = bye ? ending(0, '', bye) : how;
  drop(t, id);
  if (s.next === id) {
    s.next = undefined;
    if (s.link === undefined) down(t, because);
    else retreat(t, because);
  } else if (s.link === id) {
    s.link = s.stableAt = s.refreshAt = s.move = undefined;
    interrupt(t);
    if (s.next === undefined) down(t, because);
    else {
      s.view = { phase: 'connecting', attempt: s.attempt, because };
      s.notBefore = now + (because.retryMs ?? 0);
    }
  }
}

/** The way to a new connection is closed for now; the one that serves goes on until it is ended. */
function retreat(t: Turn, because: Ending): void {
  const { s, now } = t;
  const what = advise(t, because);
  s.attempt = nextAttempt(s.attempt, what);
  if (s.move) s.move = what === 'stop' ? undefined : { ...s.move, at: now + delay(s.attempt, t.random, because.retryMs) };
}

/** What to do; a fresh token is fetched once, if there is a way to. */
function advise(t: Turn, { code }: Ending): ReturnType<typeof advice> {
  const { s } = t;
  const what = advice(code);
  if (what !== 'fresh_token') return what;
  if (!s.renewable || s.fresh) return 'stop';
  s.fresh = true;
  s.token = undefined;
  return what;
}

/** There is no connection. */
function down(t: Turn, because: Ending): void {
  const { s, now } = t;
  const what = advise(t, because);
  if (what === 'stop') return stop(t, because);
  s.attempt = nextAttempt(s.attempt, what);
  s.retryAt = Math.max(s.notBefore, now + delay(s.attempt, t.random, because.retryMs));
  s.hinted = because.retryMs !== undefined || s.retryAt === s.notBefore;
  s.view = { phase: s.offline ? 'offline' : 'waiting', attempt: s.attempt, until: s.retryAt, because };
}

/** For good. */
export function stop(t: Turn, because: Ending): void {
  const { s } = t;
  for (const id of s.links.keys()) drop(t, id);
  s.link = s.next = s.move = s.retryAt = s.stableAt = s.refreshAt = undefined;
  interrupt(t);
  s.view = { phase: 'closed', because };
}

/** A person, or the app, wants it now. */
export function again(t: Turn): void {
  const { s } = t;
  if (s.link !== undefined) return;
  if (s.view.phase === 'closed') {
    s.attempt = 0;
    if (s.renewable) s.token = undefined;
  }
  s.fresh = false;
  dial(t);
}

/** This gateway goes. */
export function drain(t: Turn, slotMs: unknown, deadlineMs: unknown): void {
  const { s, now } = t;
  if (!('session' in s.view)) return;
  const deadline = now + (advised(deadlineMs) ?? 20_000);
  s.move = { at: now + delay(0, t.random, advised(slotMs) ?? 0), deadline };
  s.view = { phase: 'moving', session: s.view.session };
}

/** The network is back, or somebody looks: no need to wait, but for what the gateway asked for. */
export function hurry(t: Turn): void {
  const { s, now } = t;
  if (s.retryAt !== undefined && !s.hinted) {
    s.retryAt = Math.min(s.retryAt, Math.max(now + 100, s.dialledAt + HURRY_MS));
    if ('until' in s.view) s.view = { ...s.view, until: s.retryAt };
  }
  const link = s.links.get(s.link!);
  if (!link || now - link.heardAt < PROBE_MS || link.until < Infinity) return;
  // Any command is answered: one that no gateway knows costs it nothing.
  link.until = now + PROBE_MS;
  t.ask(link.id, { for: 'probe' }, 'ping', {});
}

/** The browser says whether there is a network. It is wrong at times, so attempts go on. */
export function network(t: Turn, online: boolean): void {
  const { s } = t;
  s.offline = !online;
  if ('until' in s.view) s.view = { ...s.view, phase: online ? 'waiting' : 'offline' };
  if (online) hurry(t);
}

/** Something was heard. */
export function heard(t: Turn, link: Link): void {
  link.heardAt = t.now;
  if (link.phase === 'ready' && !link.bye) link.until = Infinity;
}
