/** Channel subscriptions: subscribing, applying publications, fetching missing ones. */

import type { ChannelState, Failure } from './api.js';
import { advised } from './close.js';
import { hear, reset, skip, take, wants } from './cursor.js';
import { PAGE, WINDOW } from './limits.js';
import { TRANSIENT_CODES, type Ask, type Event, type Request, type Sub, type Turn } from './state.js';
import { publicationOf, type Begin, type Frame, type WireError, type WirePage, type WirePublication } from './wire.js';

const FORBIDDEN = 'You may not read this channel.';

/** Adds a subscription that the app wants. */
export function subscribe(t: Turn, event: Event & { is: 'subscribe' }): void {
  const { from, present, watch } = event;
  const offset = from?.offset ?? 0;
  t.s.subs.set(event.channel, {
    name: event.channel, serial: ++t.s.serial, want: event.last ?? 0, catchUp: event.catchUp ?? Infinity,
    epoch: from?.epoch, last: offset, heard: offset, asked: false, replaying: false, joining: false, rest: 0, view: { phase: 'waiting' }, present, watch,
  });
}

/** Records that the app entered or left a roster: a state that the gateway refused must not be part of the next subscribe. */
export function enter({ s }: Turn, { name, body }: Pick<Request, 'name' | 'body'>): void {
  const { channel, state } = body as { channel?: string; state?: string };
  const sub = s.subs.get(channel!);
  if (sub && name?.endsWith('sent')) sub.present = name === 'present' ? { state } : undefined;
}

/** Removes a subscription that the app no longer wants. */
export function unsubscribe(t: Turn, channel: string): void {
  const { s } = t;
  const sub = s.subs.get(channel);
  s.subs.delete(channel);
  if (sub && s.link !== undefined && (sub.joining || sub.on === s.link)) t.ask(s.link, { for: 'leave' }, 'unsubscribe', { channel });
}

/** Resets all subscriptions after the connection changed: pending replies are no longer awaited. */
export function interrupt(t: Turn): void {
  const { s } = t;
  for (const sub of s.subs.values()) {
    Object.assign(sub, { on: undefined, joining: false, asked: false, replaying: false });
    // Rights come with the token, and the next connection may have a different one.
    again(sub);
  }
  for (const [id, ask] of s.asks) if (ask.for === 'subscribe' || ask.for === 'fill') s.asks.delete(id);
}

/** Starts or refuses a subscription, from the reply to `subscribe` or an element of `recovered`. */
export function begin(t: Turn, start: Begin, link: number): void {
  const sub = t.s.subs.get(start.channel);
  const { because, epoch, head, floor, rights } = start;
  const isForbidden = because === 'forbidden';
  const isRefused = isForbidden || because === 'unavailable';
  if (!sub) {
    // The app left the channel while `connect` was in progress.
    if (!isRefused) t.ask(link, { for: 'leave' }, 'unsubscribe', { channel: start.channel });
    return;
  }
  if (isRefused) {
    return refuse(t, sub, { code: because, message: isForbidden ? FORBIDDEN : 'This channel cannot be read now.', retryMs: isForbidden ? undefined : advised(start.retry_ms) ?? 1000 });
  }
  Object.assign(sub, { on: link, replaying: true });
  if (sub.epoch === undefined) sub.last = sub.heard = Math.max(head - sub.want, floor - 1);
  else if (because === 'epoch_changed' || epoch !== sub.epoch) restart(t, sub, epoch, floor);
  sub.epoch = epoch;
  sub.view = { ...sub.view, floor, rights, error: undefined };
  gap(t, sub, head - sub.catchUp, 'skipped');
}

function restart(t: Turn, sub: Sub, epoch: string, floor: number): void {
  reset(sub, floor);
  sub.epoch = epoch;
  t.do({ do: 'emit', channel: sub.name, event: 'reset', value: { epoch, offset: sub.last } });
}

function gap(t: Turn, sub: Sub, last: number, because: 'expired' | 'skipped'): void {
  const missed = skip(sub, last);
  if (missed) t.do({ do: 'emit', channel: sub.name, event: 'gap', value: { ...missed, because } });
}

/** Records a refusal: temporary if the gateway says when to retry, else until the next connection. */
function refuse(t: Turn, sub: Sub, error: Failure): void {
  sub.on = undefined;
  sub.replaying = false;
  sub.rest = t.now + Math.max(100, error.retryMs ?? 0);
  sub.view = { ...sub.view, phase: error.retryMs === undefined ? 'refused' : 'waiting', error };
}

/** Tries one of the channels that were refused because the connection had too many, now that a place is free. */
export function freed(t: Turn): void {
  for (const sub of t.s.subs.values()) {
    if (sub.view.error?.code === 'too_large' && again(sub)) return;
  }
}

/** Tries the channels that were refused for a right, because the new token may grant it. The rights on the others may differ too. */
export function regained(t: Turn): void {
  for (const sub of t.s.subs.values()) {
    if (sub.view.rights) sub.view = { ...sub.view, rights: undefined };
    if (sub.view.error?.code !== 'too_large') again(sub);
  }
}

/** Requests a refused subscription again. Returns `false` if it was not refused. */
function again(sub: Sub): boolean {
  if (sub.view.phase !== 'refused') return false;
  sub.view = { ...sub.view, phase: 'waiting' };
  return true;
}

/** Converts a gateway error for apps. Transient errors without a `retry_ms` get 1000 ms. */
export function failure({ retry_ms, ...more }: WireError): Failure {
  const retryMs = advised(retry_ms) ?? (TRANSIENT_CODES.includes(more.code) ? 1000 : undefined);
  return { ...more, ...(retryMs !== undefined && { retryMs }) };
}

/** Handles the reply to a subscribe, or to a history request that fills a hole. */
export function answered(t: Turn, ask: Ask & { for: 'subscribe' | 'fill' }, { subscribed, history, error }: Frame): void {
  const sub = t.s.subs.get(ask.channel);
  if (sub?.serial !== ask.serial) return;
  const link = t.s.links.get(ask.link);
  if (ask.for === 'subscribe') sub.joining = false;
  else sub.asked = false;
  // The server ended the subscription while the page was on its way.
  if (ask.for === 'fill' && sub.on !== ask.link) return;
  if (error) {
    const why = failure(error);
    if (link && why.code === 'rate_limited') link.rest = t.now + (why.retryMs ?? 0);
    if (ask.for === 'fill' && why.retryMs !== undefined) sub.rest = t.now + Math.max(100, why.retryMs);
    else refuse(t, sub, why);
  } else if (subscribed) begin(t, subscribed, ask.link);
  else if (history) page(t, sub, history, ask.for === 'fill' ? ask.heard : sub.heard);
}

/** Applies a page. `heard` is the highest offset known when it was requested; anything learned since is newer than the page. */
function page(t: Turn, sub: Sub, { epoch, head, floor, publications }: WirePage, heard: number): void {
  const before = sub.last;
  if (epoch !== sub.epoch) {
    restart(t, sub, epoch, floor);
    hear(sub, head);
  }
  gap(t, sub, floor - 1, 'expired');
  for (const one of publications) apply(t, sub, one);
  sub.view = { ...sub.view, floor };
  if (head <= sub.last) sub.heard = sub.heard === heard ? sub.last : Math.max(sub.heard, sub.last);
  // An empty page is not requested again at once.
  else if (sub.last === before) sub.rest = t.now + 1000;
}

function apply(t: Turn, sub: Sub, one: WirePublication): void {
  if (take(sub, one.offset) !== 'apply') return;
  const value = publicationOf(one);
  const about = { do: 'emit', channel: sub.name } as const;
  t.do({ ...about, event: 'publication', value });
  if (value.deletes) t.do({ ...about, event: 'delete', value });
  else if (value.edits) t.do({ ...about, event: 'edit', value });
}

/** Handles a push about a channel, from the serving link or from the one being left. */
export function pushed(t: Turn, link: number, { publication, signal, presence, synced, lag, beat, unsubscribed }: Frame): void {
  const { s } = t;
  const listening = (name: string | undefined) => {
    const sub = name === undefined ? undefined : s.subs.get(name);
    return sub?.on === link || (sub?.epoch && s.links.get(link)?.phase === 'leaving') ? sub : undefined;
  };
  const sub = listening((publication ?? signal ?? presence ?? synced ?? lag ?? unsubscribed)?.channel);
  if (sub && publication) apply(t, sub, publication);
  // A signal has no offset, and during a move both connections deliver it: take it from the serving one only.
  if (signal && sub?.on === link) t.do({ do: 'emit', channel: sub.name, event: 'signal', value: signal });
  if (presence && sub?.on === link) t.do({ do: 'emit', channel: sub.name, event: 'presence', value: presence });
  if (sub && lag) hear(sub, lag.head);
  if (sub && synced && sub.on === link) {
    sub.replaying = false;
    hear(sub, synced.offset);
  }
  if (sub && unsubscribed && sub.on === link) {
    sub.asked = false;
    refuse(t, sub, { code: 'forbidden', message: FORBIDDEN });
    freed(t);
  }
  for (const [name, head] of Object.entries(beat?.heads ?? {})) {
    const sub = listening(name);
    if (sub) hear(sub, head);
  }
}

/** Returns what is read of a channel's streams, unless another connection may add to it meanwhile. */
export const reading = ({ s }: Turn, channel: string): object | undefined => (s.links.size > 1 ? undefined : s.reading?.(channel));

/** Sends the subscribes and history requests that are due, up to `WINDOW` unanswered ones. */
export function follow(t: Turn): void {
  const { s } = t;
  const link = t.serving();
  let room = WINDOW;
  for (const ask of s.asks.values()) if (ask.for !== 'publish') room -= 1;
  for (const sub of s.subs.values()) {
    const join = sub.on === undefined && !sub.joining && sub.view.phase !== 'refused';
    const wanted = join || (sub.on !== undefined && wants(sub));
    if (link && room > 0 && wanted && t.due(Math.max(sub.rest, link.rest))) {
      room -= 1;
      ask(t, sub, link.id, join);
    }
    updatePhase(t, sub);
  }
}

function ask(t: Turn, sub: Sub, link: number, join: boolean): void {
  const { name: channel, serial, epoch, last: offset, want, present, watch } = sub;
  if (join) {
    sub.joining = true;
    const from = epoch === undefined ? want && { last: want } : { recover: { epoch, offset }, streams: reading(t, channel) };
    t.ask(link, { for: 'subscribe', channel, serial }, 'subscribe', { channel, ...(from || {}), present, watch });
  } else {
    sub.asked = true;
    t.ask(link, { for: 'fill', channel, serial, heard: sub.heard }, 'history', { channel, after: offset, limit: PAGE });
  }
}

/** Updates the subscription's public phase, and emits `synced` when it becomes live. */
function updatePhase(t: Turn, sub: Sub): void {
  const { name, view, on, heard, last, replaying, epoch } = sub;
  if (view.phase === 'refused') return;
  const leaving = view.phase === 'live' && [...t.s.links.values()].some((link) => link.phase === 'leaving');
  const phase: ChannelState['phase'] = on === undefined ? 'waiting' : heard > last || (replaying && !leaving) ? 'syncing' : 'live';
  if (phase === view.phase) return;
  sub.view = { ...view, phase };
  if (phase === 'live') t.do({ do: 'emit', channel: name, event: 'synced', value: { epoch: epoch!, offset: last } });
}

/** True exactly when no subscription still depends on the link being left. */
export function settled(t: Turn): boolean {
  return [...t.s.subs.values()].every((sub) => (sub.on !== undefined && !sub.replaying) || sub.view.phase === 'refused');
}
