/** Connecting, moving to another connection, and reacting when one ends. */

import type { Ending } from './api.js';
import { delay, nextAttempt } from './backoff.js';
import { begin, interrupt, reading, regained } from './channels.js';
import { advice, advised, ending } from './close.js';
import { identify } from './identity.js';
import { AFFINITY_MS, CONNECT_BYTES, CONNECT_MS, EARLY_RETRY_MS, FRAME_BYTES, LEAVE_MS, PROBE_MS, RECOVER_BYTES, REFUSAL_MS } from './limits.js';
import { isOn, type Link, type Turn } from './state.js';
import { limitsOf, type Connected, type Drain, type Expiry, type Frame, type WireError } from './wire.js';

/** Starts a connection attempt, unless one is in progress. */
export function dial(t: Turn): void {
  const { s, now } = t;
  s.retryAt = undefined;
  if (s.next !== undefined) return;
  const id = (s.next = ++s.serial);
  if (s.renewable && now >= s.expires!) s.token = undefined;
  const ask = s.renewable && s.token === undefined;
  s.dialledAt = now;
  s.watcher?.tried(t);
  const to = hint(t);
  s.links.set(id, {
    id, to, phase: ask ? 'token' : 'opening', until: now + CONNECT_MS, heardAt: now, silenceMs: 0, bucket: 0, filledAt: now, rest: 0, quiet: 0,
  });
  if (!ask) t.do({ do: 'open', link: id, to });
  else askToken(t);
  if (s.link === undefined) s.view = { phase: 'connecting', attempt: s.attempt, because: 'because' in s.view ? s.view.because : undefined };
}

/** Returns the instance to ask for, which one attempt does: if it is gone, the next attempt must be free to go elsewhere. */
function hint(t: Turn): string | undefined {
  const { s, now } = t;
  const { move, last } = s;
  s.last = undefined;
  if (s.link === undefined) return last && now < last.until ? last.instance : undefined;
  if (move) s.move = { ...move, to: undefined };
  return move?.to;
}

function askToken(t: Turn): void {
  const { s, now } = t;
  if (now < s.asking) return;
  s.asking = now + CONNECT_MS;
  t.do({ do: 'token' });
}

/** Handles the token callback's result: opens the connection that waits for it, or refreshes the serving one. */
export function tokenCame(t: Turn, token: string | undefined, message = 'There is no token.'): void {
  const { s, now } = t;
  const next = s.links.get(s.next!);
  s.asking = 0;
  if (token !== undefined) {
    s.token = token;
    identify(s, token);
  }
  if (next?.phase === 'token') {
    if (token === undefined) lose(t, next.id, { code: 1006, reason: 'no_token', message });
    else {
      next.phase = 'opening';
      t.do({ do: 'open', link: next.id, to: next.to });
    }
  } else if (s.link !== undefined) {
    if (token === undefined) s.refreshAt = now + CONNECT_MS;
    else sendRefresh(t);
  }
}

/** Sends the callback's token to the gateway for a decision. */
function sendRefresh(t: Turn): void {
  const { s } = t;
  s.unjudged = true;
  s.refreshAt = undefined;
  t.ask(s.link!, { for: 'refresh' }, 'refresh', { token: s.token });
}

/** Sends `connect` on an open socket. The attempt succeeds only with the reply `connected`. */
export function opened(t: Turn, id: number): void {
  const { s } = t;
  const link = s.links.get(id);
  if (link?.phase !== 'opening') return;
  link.phase = 'greeting';
  const recover: object[] = [];
  let room = Math.min(RECOVER_BYTES, (s.limits?.frameBytes || FRAME_BYTES) - CONNECT_BYTES - (s.token?.length ?? 0));
  for (const { name, epoch, last, present, watch } of s.subs.values()) {
    if (epoch === undefined || s.cautious || recover.length >= (s.limits?.subscriptions || 128)) continue;
    const streams = reading(t, name);
    room -= name.length + epoch.length + JSON.stringify(streams ?? 0).length + (present || watch ? 150 : 60);
    if (room > 0) recover.push({ channel: name, epoch, offset: last, streams, present, watch });
  }
  t.ask(id, { for: 'connect' }, 'connect', { token: s.token, client: s.client, recover, previous: s.watcher?.report(t) });
}

/** Makes the new connection the serving one. The connection it replaces is closed once nothing depends on it. */
export function connected(t: Turn, id: number, reply: Connected): void {
  const { s, now } = t;
  const link = s.links.get(id)!;
  const old = s.links.get(s.link!);
  const { user, personal, connection, instance, expires, expires_in_ms } = reply;
  const limits = limitsOf(reply.limits);
  const lost = reply.recovered.some((one) => one.because === 'epoch_changed');
  Object.assign(link, { phase: 'ready', until: Infinity, silenceMs: 2 * reply.ping_ms, bucket: limits.publishesBurst });
  // The token was accepted. One that lives for seconds ends the session before it is stable.
  s.next = s.move = s.last = s.away = s.refusedAt = undefined;
  s.idle = 0;
  s.link = id;
  s.user = user;
  s.personal = personal;
  s.limits = limits;
  s.cautious = s.unjudged = false;
  s.stableAt = now + reply.stable_ms;
  s.status = reply.status;
  s.flags = reply.flags;
  s.view = { phase: 'online', session: { user, connection, instance, limits, expires } };
  expiresIn(t, expires_in_ms);
  interrupt(t);
  if (old && lost) drop(t, old.id);
  else if (old) Object.assign(old, { phase: 'leaving', until: now + LEAVE_MS });
  for (const one of reply.recovered) begin(t, one, id);
  // Entries refused because the old connection was draining can be sent at once on the new one.
  if (old) s.outbox = s.outbox.map((entry) => (entry.error?.code === 'draining' ? { ...entry, rest: 0 } : entry));
}

/** Handles an error reply to `connect`. A permanent error may be caused by the token, so a fresh one is requested. */
export function refused(t: Turn, id: number, error: WireError): void {
  const { s } = t;
  s.cautious = error.code === 'too_large';
  if (s.renewable && error.retry_ms === undefined) s.token = undefined;
  lose(t, id, { code: 1006, reason: error.code, message: error.message, dependency: error.dependency, retryMs: advised(error.retry_ms) });
}

/** Schedules the token refresh, early and with jitter. Uses the remaining lifetime, because the clocks may differ. */
function expiresIn(t: Turn, left = Infinity): void {
  t.s.expires = t.now + left;
  const lead = Math.min(60_000, left / 5) * (1 + t.random);
  t.s.refreshAt = t.s.renewable ? t.now + Math.max(10_000, left - lead) : undefined;
}

/** Applies the rights and the expiry that the session has from now on. */
export function granted(t: Turn, { expires, expires_in_ms }: Expiry): void {
  const { s } = t;
  if (!('session' in s.view)) return;
  s.view = { ...s.view, session: { ...s.view.session, expires } };
  expiresIn(t, expires_in_ms);
  regained(t);
}

/** Handles the reply to `refresh`. After a transient error the same token is sent again; after a refusal the callback is called again. */
export function refreshed(t: Turn, { refreshed, error }: Frame): void {
  const { s } = t;
  const later = (ms: number) => t.now + ms * (1 + t.random);
  if (refreshed && 'session' in s.view) {
    s.unjudged = false;
    granted(t, refreshed);
  } else if (error?.retry_ms !== undefined) s.refreshAt = later(Math.max(1000, error.retry_ms));
  else {
    s.token = undefined;
    s.unjudged = false;
    s.refreshAt = later(CONNECT_MS);
  }
}

/** Refreshes the token when that is due. */
export function refresh(t: Turn): void {
  if (t.s.unjudged) return sendRefresh(t);
  // If the callback does not answer, it is called again then.
  t.s.refreshAt = t.now + CONNECT_MS;
  askToken(t);
}

/** Closes a connection from this side and re-queues its unanswered requests. */
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

/** Handles a connection that ended or is given up. */
export function lose(t: Turn, id: number, how: Ending): void {
  const { s, now } = t;
  const link = s.links.get(id);
  const because = link?.bye ? ending(0, '', link.bye) : how;
  drop(t, id);
  if (s.next === id) {
    s.next = undefined;
    s.watcher?.failed(t, link?.phase, because);
    if (s.link === undefined) disconnected(t, because);
    else moveFailed(t, because);
  } else if (s.link === id) {
    // An instance that ends its connections for a restart would be asked for in vain.
    if (s.affinity && because.code !== 1012 && 'session' in s.view) s.last = { instance: s.view.session.instance, until: now + AFFINITY_MS };
    s.watcher?.left(t, link!, because);
    s.link = s.stableAt = s.refreshAt = s.move = undefined;
    interrupt(t);
    if (s.next === undefined) disconnected(t, because);
    else {
      s.view = { phase: 'connecting', attempt: s.attempt, because };
      s.notBefore = now + (because.retryMs ?? 0);
    }
  }
}

/** Handles a failed attempt to move. The serving connection stays until it is ended. */
function moveFailed(t: Turn, because: Ending): void {
  const { s, now } = t;
  const what = advise(t, because);
  s.attempt = nextAttempt(s.attempt, what);
  if (s.move) s.move = what === 'stop' ? undefined : { ...s.move, at: now + delay(s.attempt, t.random, because.retryMs) };
}

/**
 * Decides what to do next. The refusal of a token rests on keys and clocks that may still be catching up, so it is believed only
 * when it is repeated `REFUSAL_MS` later. A callback is asked for a fresh token before each attempt.
 */
function advise(t: Turn, { code, retryMs }: Ending): ReturnType<typeof advice> {
  const { s, now } = t;
  const what = advice(code);
  if (what === 'fresh_token') {
    s.refusedAt ??= now;
    const isFinal = (s.token === undefined && !s.renewable) || now - s.refusedAt >= REFUSAL_MS;
    if (s.renewable) s.token = undefined;
    if (isFinal && retryMs === undefined) return 'stop';
  }
  // A gateway that says when to return does not mean a final refusal.
  return what === 'stop' && retryMs !== undefined ? 'return' : what;
}

/** Schedules the next attempt when there is no connection, or stops. */
function disconnected(t: Turn, because: Ending): void {
  const { s, now } = t;
  const what = advise(t, because);
  if (what === 'stop') return stop(t, because);
  s.attempt = nextAttempt(s.attempt, what);
  s.retryAt = Math.max(s.notBefore, now + delay(s.attempt, t.random, because.retryMs));
  s.hinted = because.retryMs !== undefined || s.retryAt === s.notBefore;
  s.view = { phase: s.offline ? 'offline' : 'waiting', attempt: s.attempt, until: s.retryAt, because };
}

/** Closes everything for good. */
export function stop(t: Turn, because: Ending): void {
  const { s } = t;
  for (const id of s.links.keys()) drop(t, id);
  s.link = s.next = s.move = s.retryAt = s.stableAt = s.refreshAt = s.away = undefined;
  interrupt(t);
  s.view = { phase: 'closed', because };
}

/** Connects now because the app or a person asked for it. */
export function reconnect(t: Turn): void {
  const { s } = t;
  if (s.link !== undefined) return;
  if (s.view.phase === 'closed') {
    s.attempt = 0;
    if (s.renewable) s.token = undefined;
  }
  s.refusedAt = undefined;
  dial(t);
}

/** Schedules the move to another connection, because the gateway is draining or has more connections than others. */
export function drain(t: Turn, { reason, slot_ms, deadline_ms, to }: Drain): void {
  const { s, now } = t;
  // Without the flag, the client waits until the gateway ends the connection.
  if (!('session' in s.view) || !isOn(s, 'move')) return;
  const deadline = now + (advised(deadline_ms) ?? 20_000);
  s.move = { at: now + delay(0, t.random, advised(slot_ms) ?? 0), deadline, to };
  // The gateway goes on after a rebalance, so there is nothing to tell people.
  if (reason !== 'rebalance') s.view = { phase: 'moving', session: s.view.session };
}

/** Brings the next attempt forward when the network is back or the page is visible, unless the gateway set the wait. Probes a quiet connection. */
export function bringForward(t: Turn): void {
  const { s, now } = t;
  if (s.retryAt !== undefined && !s.hinted && isOn(s, 'hurry')) {
    s.retryAt = Math.min(s.retryAt, Math.max(now + 100, s.dialledAt + EARLY_RETRY_MS));
    if ('until' in s.view) s.view = { ...s.view, until: s.retryAt };
  }
  const link = s.links.get(s.link!);
  if (!link || now - link.heardAt < PROBE_MS || link.until < Infinity || !isOn(s, 'probe')) return;
  // Every command is answered, and an unknown one costs the gateway nothing.
  link.until = now + PROBE_MS;
  t.ask(link.id, { for: 'probe' }, 'ping', {});
}

/** Records the browser's network state. The browser is sometimes wrong, so attempts continue. */
export function network(t: Turn, online: boolean): void {
  const { s } = t;
  s.offline = !online;
  if ('until' in s.view) s.view = { ...s.view, phase: online ? 'waiting' : 'offline' };
  if (online) bringForward(t);
}

/** Records that a frame arrived. */
export function heard(t: Turn, link: Link): void {
  link.heardAt = t.now;
  if (link.id === t.s.link) t.s.idle = 0;
  if (link.phase === 'ready' && !link.bye) link.until = Infinity;
}
