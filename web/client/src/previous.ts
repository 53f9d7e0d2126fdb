/** The report on the last connection that `connect` carries: how it ended, and how long the client was away. */

import type { Ending } from './api.js';
import { isOn, type Link, type SessionState, type Turn } from './state.js';

/** A wake this late is a page that slept: browsers delay timers by up to a second. */
const LATE_MS = 1_000;

/** A lost connection and the attempts since, with the names of the wire. */
export interface Away {
  readonly connection: string;
  readonly code: number;
  readonly reason: string;
  readonly reference?: string;
  readonly attempts: number;
  /** Failed attempts, by how they ended. */
  readonly failed: Readonly<Record<string, number>>;
  /** The waits that refusals of attempts asked for and that the client kept. */
  readonly waited_ms: number;
  /** The time of the last bytes from the gateway. */
  readonly since: number;
  /** The last refusal and the wait that it asked for. */
  readonly refused?: readonly [at: number, ms: number];
}

/** Counts the time since the last step in which the client could not try. `due` is when the timer was due. */
export function pass(s: SessionState, now: number, due: number): void {
  const late = now - Math.max(due, s.steppedAt);
  const tokenless = s.links.get(s.next!)?.phase === 'token' || ('because' in s.view && s.view.because?.reason === 'no_token');
  s.idle += s.offline || tokenless ? now - s.steppedAt : late > LATE_MS ? late : 0;
  s.steppedAt = now;
}

/** Records that the serving connection ended. */
export function left({ s }: Turn, { heardAt: since }: Link, { code, reason, reference }: Ending): void {
  if (!s.telemetry || !('session' in s.view)) return;
  s.away = { connection: s.view.session.connection, code, reason, reference, attempts: s.next === undefined ? 0 : 1, failed: {}, waited_ms: 0, since };
}

/** Records an attempt. */
export function tried({ s, now }: Turn): void {
  const { away } = s;
  if (!away) return;
  const [at, ms] = away.refused ?? [now, 0];
  s.away = { ...away, attempts: away.attempts + 1, waited_ms: away.waited_ms + Math.min(ms, now - at), refused: undefined };
}

/** Records how an attempt failed. */
export function failed({ s, now }: Turn, phase: Link['phase'] | undefined, { code, reason, retryMs }: Ending): void {
  const { away } = s;
  if (!away) return;
  const how = code !== 1006 ? `bye_${code}` : phase === 'opening' ? 'never_opened' : reason;
  s.away = { ...away, failed: { ...away.failed, [how]: (away.failed[how] ?? 0) + 1 }, refused: retryMs === undefined ? undefined : [now, retryMs] };
}

/** Returns the value of `previous` in `connect`; `undefined` if there was no connection before. */
export function report({ s, now }: Turn): object | undefined {
  const { away, view } = s;
  if (!isOn(s, 'previous')) return undefined;
  if (s.telemetry && s.link !== undefined && 'session' in view) return { connection: view.session.connection, code: 1000, reason: 'moved', attempts: 1 };
  return away && { ...away, since: undefined, refused: undefined, offline_ms: ~~(now - away.since), idle_ms: ~~s.idle, waited_ms: ~~away.waited_ms };
}
