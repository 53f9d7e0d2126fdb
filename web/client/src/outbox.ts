/** Outgoing publications: sent in order, one unanswered per channel, each with its key until it is settled. */

import type { Failure, KeptEntry } from './api.js';
import { advised } from './close.js';
import { failure } from './channels.js';
import { author, owns } from './identity.js';
import { FRAME_BYTES, OUTBOX_AGE_MAX_MS, OUTBOX_ENTRIES_MAX } from './limits.js';
import type { Entry, Event, Link, NewEntry, SessionState, Turn } from './state.js';
import { bytes, command, type Frame } from './wire.js';

function change(t: Turn, key: string, to: Partial<Entry>): void {
  t.s.outbox = t.s.outbox.map((entry) => (entry.key === key ? { ...entry, ...to } : entry));
}

function remove(t: Turn, key: string): void {
  t.s.outbox = t.s.outbox.filter((entry) => entry.key !== key);
}

/** Marks an entry as failed, and reports that to the app and to storage. It is not sent again automatically. */
function fail(t: Turn, entry: Entry, error: Failure): void {
  change(t, entry.key, { state: 'failed', error });
  t.do({ do: 'save', entry: { ...entry, error } });
  t.do({ do: 'settle', key: entry.key, failure: error });
}

function body({ channel, key, edits, deletes }: NewEntry): object {
  return { channel, key, edits, deletes };
}

/** Returns a failure if the frame is too large: the gateway would end the connection. */
export function tooLarge(s: SessionState, text: string): Failure | undefined {
  const most = s.limits?.frameBytes ?? FRAME_BYTES;
  const size = bytes(text);
  if (!most || size <= most) return undefined;
  return { code: 'too_large', message: `This takes ${size} bytes but the gateway accepts ${most}: make it shorter.` };
}

/** The entry's longest possible frame. */
const longest = (entry: NewEntry): string => command(2 ** 53, 'publish', body(entry), entry.json);

/** Returns the entries of the session's user: those of another user are neither shown nor sent, but kept until that user is back. */
export function owned(s: SessionState): readonly Entry[] {
  const mine = s.outbox.filter((entry) => owns(s, entry.user));
  return mine.length === s.outbox.length ? s.outbox : mine;
}

/** Queues a new entry or refuses it at once. A full outbox drops the user's oldest `sent` entry, else the oldest `failed` one. */
export function queue(t: Turn, { entry }: Event & { is: 'publish' }): void {
  const { s, now } = t;
  const refuse = (failure: Failure) => t.do({ do: 'settle', key: entry.key, failure });
  const large = tooLarge(s, longest(entry));
  if (large) return refuse(large);
  if (s.outbox.length >= OUTBOX_ENTRIES_MAX) {
    const mine = owned(s);
    const least = mine.find((one) => one.state === 'sent') ?? mine.find((one) => one.state === 'failed');
    if (!least) {
      return refuse({ code: 'outbox_full', message: `${OUTBOX_ENTRIES_MAX} publications are waiting: send or discard some first.` });
    }
    remove(t, least.key);
    t.do({ do: 'forget', key: least.key });
  }
  const order = Math.max(now, (s.outbox.at(-1)?.order ?? 0) + 1);
  const taken: Entry = { ...entry, at: now, order, user: author(s), state: 'queued', saved: false, rest: 0 };
  s.outbox = [...s.outbox, taken];
  t.do({ do: 'save', entry: taken });
}

/** Adds entries left by an earlier page or a closed tab. All entries are sorted by the time they were written. */
export function restore(t: Turn, entries: readonly KeptEntry[]): void {
  const known = new Set(t.s.outbox.map((entry) => entry.key));
  const left = entries.filter((entry) => !known.has(entry.key)).map((entry): Entry => {
    // Version 0.1.0 recorded `other_user` in an entry when another user was connected. Its author sends it.
    const error = (entry.error?.code as string) === 'other_user' ? undefined : entry.error;
    return { ...entry, error, data: JSON.parse(entry.json), state: error ? 'failed' : 'queued', saved: true, rest: 0 };
  });
  t.s.outbox = [...left, ...t.s.outbox].sort((one, other) => one.order - other.order);
}

/** Records that storage has the entry, so that it may be sent. */
export function saved(t: Turn, key: string): void {
  change(t, key, { saved: true });
}

/** Re-queues a failed entry in its place. Uses a new key if the gateway has other content under the old one or may have forgotten it. */
export function retry(t: Turn, key: string, newKey: string): void {
  const { s, now } = t;
  const entry = owned(s).find((one) => one.key === key && one.state === 'failed');
  if (!entry) return;
  const renew = ['key_conflict', 'expired'].includes(entry.error!.code);
  const again: Entry = { ...entry, key: renew ? newKey : key, at: now, state: 'queued', error: undefined, saved: false, rest: 0 };
  s.outbox = s.outbox.map((one) => (one === entry ? again : one));
  t.do({ do: 'save', entry: again });
  // In this order, so that a crash in between does not lose the text.
  if (renew) t.do({ do: 'forget', key });
}

/** Drops an entry that is not being sent. */
export function discard(t: Turn, key: string): void {
  const entry = owned(t.s).find((one) => one.key === key);
  if (!entry || entry.state === 'sending' || entry.state === 'sent') return;
  remove(t, key);
  t.do({ do: 'forget', key });
  t.do({ do: 'settle', key, failure: { code: 'discarded', message: 'This was discarded.' } });
}

/** Handles the reply to a publish. */
export function answered(t: Turn, key: string, { published, error }: Frame, link: Link | undefined): void {
  const { s, now } = t;
  const entry = s.outbox.find((one) => one.key === key);
  if (!entry) return;
  if (published) {
    change(t, key, { state: 'sent', offset: published.offset, error: undefined, epoch: published.epoch });
    t.do({ do: 'forget', key });
    t.do({ do: 'settle', key, published });
  } else if (error) {
    const why = failure(error);
    const wait = Math.max(100, advised(why.retryMs) ?? 0);
    if (why.retryMs === undefined) return fail(t, entry, why);
    change(t, key, { state: 'queued', error: why, rest: now + wait });
    if (link && why.code === 'rate_limited') Object.assign(link, { bucket: 0, filledAt: now + wait });
  }
}

/** Records the author of entries that were written before the user was known, so that after a crash no other user sends them. */
function sign(t: Turn): void {
  const user = author(t.s);
  if (user === undefined) return;
  for (const entry of t.s.outbox) {
    if (entry.user !== undefined) continue;
    const signed: Entry = { ...entry, user, saved: false };
    change(t, entry.key, signed);
    t.do({ do: 'save', entry: signed });
  }
}

/** Expires old entries, removes entries whose publication has arrived, and sends what is due. */
export function send(t: Turn): void {
  const { s, now } = t;
  for (const entry of s.outbox) {
    if (entry.state === 'queued' && now - entry.at >= OUTBOX_AGE_MAX_MS) {
      fail(t, entry, { code: 'expired', message: 'Could not be sent for 7 days. Retry sends it as a new publication.' });
    }
  }
  const awaited = ({ state, channel, offset, epoch }: Entry) => {
    const sub = s.subs.get(channel);
    return state !== 'sent' || (sub?.epoch === epoch && sub!.view.phase !== 'refused' && sub!.last < offset!);
  };
  if (!s.outbox.every(awaited)) s.outbox = s.outbox.filter(awaited);
  sign(t);
  const link = t.serving();
  if (!link) return;
  const busy = new Set(s.outbox.filter((entry) => entry.state === 'sending').map((entry) => entry.channel));
  for (const entry of owned(s)) {
    if (entry.state !== 'queued' || busy.has(entry.channel)) continue;
    busy.add(entry.channel);
    // A subscription without a cursor starts at the head, so it would miss a publication stored before it starts.
    const sub = s.subs.get(entry.channel);
    if (sub && sub.epoch === undefined && sub.view.phase !== 'refused') continue;
    if (entry.saved && t.due(entry.rest)) sendOne(t, entry, link);
  }
}

function sendOne(t: Turn, entry: Entry, link: Link): void {
  const large = tooLarge(t.s, longest(entry));
  if (large) return fail(t, entry, large);
  if (!spend(t, link)) return;
  change(t, entry.key, { state: 'sending' });
  t.ask(link.id, { for: 'publish', key: entry.key }, 'publish', body(entry), entry.json);
}

/** Takes a token from the local copy of the gateway's bucket for `publishesPerSecond`; above that rate the gateway refuses. */
function spend(t: Turn, link: Link): boolean {
  const { publishesPerSecond: rate, publishesBurst: burst } = t.s.limits!;
  if (!rate) return true;
  const filled = Math.min(burst, link.bucket + (Math.max(0, t.now - link.filledAt) * rate) / 1000);
  if (filled < 1) {
    t.due(Math.max(t.now, link.filledAt) + Math.ceil(((1 - filled) * 1000) / rate));
    return false;
  }
  Object.assign(link, { bucket: filled - 1, filledAt: Math.max(t.now, link.filledAt) });
  return true;
}

/** Returns the time at which the oldest queued entry expires. */
export const oldest = (outbox: readonly Entry[]): number =>
  Math.min(...outbox.map((entry) => (entry.state === 'queued' ? entry.at + OUTBOX_AGE_MAX_MS : Infinity)));
