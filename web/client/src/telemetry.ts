/**
 * The module `seawall-client/telemetry`: the report on the last connection that `connect` carries, about its end and the time since.
 * Separate, so that only its users load it.
 */

import type { Ending } from './api.js';
import { isOn, type Link, type SessionState, type Turn } from './state.js';
import type { Telemetry } from './runtime.js';

/** A wake this late is a page that slept: browsers delay timers by up to a second. */
const LATE_MS = 1_000;

/** Counts the time since the last step in which the client could not try. `due` is when the timer was due. */
function pass(s: SessionState, now: number, due: number): void {
  const late = now - Math.max(due, s.steppedAt);
  const tokenless = s.links.get(s.next!)?.phase === 'token' || ('because' in s.view && s.view.because?.reason === 'no_token');
  s.idle += s.offline || tokenless ? now - s.steppedAt : late > LATE_MS ? late : 0;
  s.steppedAt = now;
}

/** Records that the serving connection ended. */
function left({ s }: Turn, { heardAt: since }: Link, { code, reason, reference }: Ending): void {
  if (!('session' in s.view)) return;
  s.away = { connection: s.view.session.connection, code, reason, reference, attempts: s.next === undefined ? 0 : 1, failed: {}, waited_ms: 0, since };
}

/** Records an attempt. */
function tried({ s, now }: Turn): void {
  const { away } = s;
  if (!away) return;
  const [at, ms] = away.refused ?? [now, 0];
  s.away = { ...away, attempts: away.attempts + 1, waited_ms: away.waited_ms + Math.min(ms, now - at), refused: undefined };
}

/** Records how an attempt failed. */
function failed({ s, now }: Turn, phase: Link['phase'] | undefined, { code, reason, retryMs }: Ending): void {
  const { away } = s;
  if (!away) return;
  const how = code !== 1006 ? `bye_${code}` : phase === 'opening' ? 'never_opened' : reason;
  s.away = { ...away, failed: { ...away.failed, [how]: (away.failed[how] ?? 0) + 1 }, refused: retryMs === undefined ? undefined : [now, retryMs] };
}

/** Returns the value of `previous` in `connect`; `undefined` if there was no connection before. */
function report({ s, now }: Turn): object | undefined {
  const { away, view } = s;
  if (!isOn(s, 'previous')) return undefined;
  if (s.link !== undefined && 'session' in view) return { connection: view.session.connection, code: 1000, reason: 'moved', attempts: 1 };
  return away && { ...away, since: undefined, refused: undefined, offline_ms: ~~(now - away.since), idle_ms: ~~s.idle, waited_ms: ~~away.waited_ms };
}

/**
 * Reports to the gateway how the last connection ended, how long the client was away and how many attempts it made: numbers and words of
 * the protocol, nothing about the person, the page or the device. Pass it as `telemetry` to `connect`.
 */
export const telemetry = { pass, left, tried, failed, report } as unknown as Telemetry;
