/** Publications on their way: in order, one unanswered for each channel, each under its key until it is settled. */

import type { Failure, KeptEntry } from './api.js';
import { advised } from './close.js';
import { failure } from './channels.js';
import { FRAME_BYTES, OUTBOX_AGE_MAX_MS, OUTBOX_ENTRIES_MAX } from './limits.js';
import type { Entry, Event, Link, NewEntry, SessionState, Turn } from './state.js';
import { bytes, command, type Frame } from './wire.js';

function change(t: Turn, key: string, to: Partial<Entry>): void {
  t.s.outbox = t.s.outbox.map((entry) => (entry.key === key ? { ...entry, ...to } : entry));
}

function remove(t: Turn, key: string): void {
  t.s.outbox = t.s.outbox.filter((entry) => entry.key !== key);
}

/** It will not be sent by itself: the app, and the store, are told why. */
function fail(t: Turn, entry: Entry, error: Failure): void {
  change(t, entry.key, { state: 'failed', error });
  t.do({ do: 'save', entry: { ...entry, error } });
  t.do({ do: 'settle', key: entry.key, failure: error });
}

function body({ channel, key, edits, deletes }: NewEntry): object {
  return { channel, key, edits, deletes };
}

/** Why a frame would end the connection, if it would. */
export function tooLarge(s: SessionState, text: string): Failure | undefined {
  const most = s.limits?.frame_bytes ?? FRAME_BYTES;
  const size = bytes(text);
  if (!most || size <= most) return undefined;
  return { code: 'too_large', message: `This takes ${size} bytes and the gateway accepts ${most}: make it shorter.` };
}

/** As it is sent at the longest. */
const longest = (entry: NewEntry): string => command(2 ** 53, 'publish', body(entry), entry.json);

/** Takes a new one, or says at once why not. The oldest that is committed, or else that failed, makes room. */
export function queue(t: Turn, { entry }: Event & { is: 'publish' }): void {
  const { s, now } = t;
  const refuse = (failure: Failure) => t.do({ do: 'settle', key: entry.key, failure });
  const large = tooLarge(s, longest(entry));
  if (large) return refuse(large);
  if (s.outbox.length >= OUTBOX_ENTRIES_MAX) {
    const least = s.outbox.find((one) => one.state === 'sent') ?? s.outbox.find((one) => one.state === 'failed');
    if (!least) {
      return refuse({ code: 'outbox_full', message: `${OUTBOX_ENTRIES_MAX} publications wait to be sent: wait until some are, or discard some.` });
    }
    remove(t, least.key);
    t.do({ do: 'forget', key: least.key });
  }
  const order = Math.max(now, (s.outbox.at(-1)?.order ?? 0) + 1);
  const taken: Entry = { ...entry, at: now, order, user: s.user, state: 'queued', saved: false, rest: 0 };
  s.outbox = [...s.outbox, taken];
  t.do({ do: 'save', entry: taken });
}

/** What an earlier life, or a tab that is gone, has left: all is in the order in which it was written. */
export function restore(t: Turn, entries: readonly KeptEntry[]): void {
  const known = new Set(t.s.outbox.map((entry) => entry.key));
  const left = entries.filter((entry) => !known.has(entry.key)).map((entry): Entry => ({
    ...entry, data: JSON.parse(entry.json), state: entry.error ? 'failed' : 'queued', saved: true, rest: 0,
  }));
  t.s.outbox = [...left, ...t.s.outbox].sort((one, other) => one.order - other.order);
}

/** Storage has it. */
export function saved(t: Turn, key: string): void {
  change(t, key, { saved: true });
}

/** Sends a failed one again, at its place: under a new key where the gateway knows the old one for something else, or no more. */
export function retry(t: Turn, key: string, newKey: string): void {
  const { s, now } = t;
  const entry = s.outbox.find((one) => one.key === key && one.state === 'failed');
  if (!entry) return;
  const renew = ['key_conflict', 'expired'].includes(entry.error!.code);
  const again: Entry = { ...entry, key: renew ? newKey : key, at: now, user: s.user, state: 'queued', error: undefined, saved: false, rest: 0 };
  s.outbox = s.outbox.map((one) => (one === entry ? again : one));
  t.do({ do: 'save', entry: again });
  // In this order: a crash in between must not lose the text.
  if (renew) t.do({ do: 'forget', key });
}

/** Drops one that is not being sent. */
export function discard(t: Turn, key: string): void {
  const entry = t.s.outbox.find((one) => one.key === key);
  if (!entry || entry.state === 'sending' || entry.state === 'sent') return;
  remove(t, key);
  t.do({ do: 'forget', key });
  t.do({ do: 'settle', key, failure: { code: 'discarded', message: 'It was discarded before the gateway confirmed it.' } });
}

/** The reply to a publish. */
export function answered(t: Turn, key: string, { published, error }: Frame, link: Link | undefined): void {
  const { s, now } = t;
  const entry = s.outbox.find((one) => one.key === key);
  if (!entry) return;
  if (published) {
    change(t, key, { state: 'sent', offset: published.offset, error: undefined, epoch: published.epoch });
    t.do({ do: 'forget', key });
    t.do({ do: 'settle', key, published });
  } else if (error) {
    const told = failure(error);
    const wait = Math.max(100, advised(told.retryMs) ?? 0);
    if (told.retryMs === undefined) return fail(t, entry, told);
    change(t, key, { state: 'queued', error: told, rest: now + wait });
    if (link && told.code === 'rate_limited') Object.assign(link, { bucket: 0, filledAt: now + wait });
  }
}

/** Ends what is too old, forgets what has come back, and sends what may be sent. */
export function send(t: Turn): void {
  const { s, now } = t;
  for (const entry of s.outbox) {
    if (entry.state === 'queued' && now - entry.at >= OUTBOX_AGE_MAX_MS) {
      fail(t, entry, { code: 'expired', message: 'It could not be sent for 7 days. Retry sends it as a new publication.' });
    }
  }
  const awaited = ({ state, channel, offset, epoch }: Entry) => {
    const sub = s.subs.get(channel);
    return state !== 'sent' || (sub?.epoch === epoch && sub!.view.phase !== 'refused' && sub!.last < offset!);
  };
  if (!s.outbox.every(awaited)) s.outbox = s.outbox.filter(awaited);
  const link = t.serving();
  if (!link) return;
  const busy = new Set(s.outbox.filter((entry) => entry.state === 'sending').map((entry) => entry.channel));
  for (const entry of s.outbox) {
    if (entry.state !== 'queued' || busy.has(entry.channel)) continue;
    busy.add(entry.channel);
    // A subscription without a cursor begins at the head: what is stored before it has begun, it would never hear.
    const sub = s.subs.get(entry.channel);
    if (sub && sub.epoch === undefined && sub.view.phase !== 'refused') continue;
    if (entry.saved && t.due(entry.rest)) sendOne(t, entry, link);
  }
}

function sendOne(t: Turn, entry: Entry, link: Link): void {
  const { s } = t;
  const { user } = entry;
  if (user !== undefined && user !== s.user) {
    return fail(t, entry, { code: 'other_user', message: `It was written as ${user} and this connection is ${s.user}'s. Retry sends it as ${s.user}.` });
  }
  const large = tooLarge(s, longest(entry));
  if (large) return fail(t, entry, large);
  if (user === undefined) {
    // Written before there was a user. Stored under this one first: after a crash it is not sent again as another.
    const owned: Entry = { ...entry, user: s.user, saved: false };
    change(t, entry.key, owned);
    return t.do({ do: 'save', entry: owned });
  }
  if (!spend(t, link)) return;
  change(t, entry.key, { state: 'sending' });
  t.ask(link.id, { for: 'publish', key: entry.key }, 'publish', body(entry), entry.json);
}

/** Takes one from the bucket that the gateway fills `publishes_per_s`: over it, it would refuse. */
function spend(t: Turn, link: Link): boolean {
  const { publishes_per_s: rate, publishes_burst: burst } = t.s.limits!;
  if (!rate) return true;
  const filled = Math.min(burst, link.bucket + (Math.max(0, t.now - link.filledAt) * rate) / 1000);
  if (filled < 1) {
    t.due(Math.max(t.now, link.filledAt) + Math.ceil(((1 - filled) * 1000) / rate));
    return false;
  }
  Object.assign(link, { bucket: filled - 1, filledAt: Math.max(t.now, link.filledAt) });
  return true;
}

/** When the oldest that waits is too old. */
export const oldest = (outbox: readonly Entry[]): number =>
  Math.min(...outbox.map((entry) => (entry.state === 'queued' ? entry.at + OUTBOX_AGE_MAX_MS : Infinity)));
