/** The live state: polled with a cursor while the tab is visible, one request at a time. */

import { call, Refused } from './api.ts';
import type { Change, LiveAnswer } from './types.ts';

const PERIOD_MS = 2_000;
const PAUSE_MAX_MS = 30_000;
/** Data older than this is shown dimmed. */
export const OLD_MS = 10_000;
const KEPT_MS = 31 * 60_000;
/** Points may be this much newer than an answer, because clocks are corrected in small steps. */
const AHEAD_MS = 2_000;
const CHANGES_MAX = 200;

export interface Points { times: number[]; values: Record<string, (number | null)[]> }

/** Adds the rows of an answer to the points that are known. The first answer, or another process, begins again. */
export function merge(points: Points, answer: LiveAnswer, isWhole: boolean): Points {
  const { series, now, tick } = answer;
  const times = isWhole ? [] : [...points.times];
  const old = (name: string) => (isWhole ? [] : [...(points.values[name] ?? [])]);
  const values = Object.fromEntries(series.names.map((name) => [name, old(name)]));
  const newest = times.at(-1) ?? -Infinity;
  series.rows.forEach((row, at) => {
    const time = now - (tick - series.from) * 1_000 + (at + 1) * series.step_ms;
    if (time <= newest) return;
    times.push(time);
    series.names.forEach((name, column) => values[name]?.push(row[column] ?? null));
  });
  const first = times.findIndex((time) => time >= now - KEPT_MS);
  if (first > 0) {
    times.splice(0, first);
    for (const name of series.names) values[name]?.splice(0, first);
  }
  return { times, values };
}

/** True if points are newer than an answer: the gateway's clock was set back, and rows of now would be taken for old ones. */
export const isAhead = (points: Points, { now }: LiveAnswer): boolean => (points.times.at(-1) ?? -Infinity) > now + AHEAD_MS;

/** The tick from which the next answer continues. */
export const cursor = ({ series }: LiveAnswer): number => series.from + (series.rows.length * series.step_ms) / 1_000;

/** The wait after this number of failures in a row. */
export const pause = (failures: number): number => Math.min(PAUSE_MAX_MS, PERIOD_MS * 2 ** Math.max(0, failures - 1));

export class Live {
  answer: LiveAnswer | undefined;
  points: Points = { times: [], values: {} };
  changes: Change[] = [];
  /** When the newest answer arrived, by this browser's clock. */
  at = 0;
  fault: Error | undefined;
  isPaused = false;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #since: number | undefined;
  #isStopped = false;

  constructor(readonly changed: () => void, readonly loggedOut: (why: Refused) => void) {
    document.addEventListener('visibilitychange', this.#seen);
  }

  start(): void {
    void this.#turn();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    document.removeEventListener('visibilitychange', this.#seen);
  }

  setPaused(isPaused: boolean): void {
    this.isPaused = isPaused;
    clearTimeout(this.#timer);
    if (!isPaused) this.start();
    this.changed();
  }

  #seen = (): void => {
    clearTimeout(this.#timer);
    if (!document.hidden && !this.isPaused) void this.#turn();
  };

  #isTurning = false;

  async #turn(): Promise<void> {
    if (this.#isTurning || this.#isStopped) return;
    this.#isTurning = true;
    try {
      await this.#ask();
    } finally {
      this.#isTurning = false;
    }
    if (!this.#isStopped && !document.hidden && !this.isPaused) this.#timer = setTimeout(() => void this.#turn(), pause(this.#failures));
  }

  async #ask(): Promise<void> {
    const since = this.#since === undefined ? '' : `since=${this.#since}&`;
    try {
      const answer = await call<LiveAnswer>('GET', `live?${since}changes=${this.changes.at(-1)?.id ?? 0}`);
      const isOther = this.answer !== undefined && (this.answer.boot !== answer.boot || this.answer.instance !== answer.instance);
      if ((isOther || isAhead(this.points, answer)) && this.#since !== undefined) {
        this.#since = undefined;
        if (isOther) this.changes = [];
        this.answer = answer;
        return await this.#ask();
      }
      this.points = merge(this.points, answer, answer.series.step_ms !== 1_000 || this.#since === undefined);
      this.changes = [...this.changes, ...answer.changes].slice(-CHANGES_MAX);
      [this.answer, this.at, this.fault, this.#failures, this.#since] = [answer, Date.now(), undefined, 0, cursor(answer)];
    } catch (error) {
      if (this.#isStopped) return;
      if (error instanceof Refused && error.status === 401) {
        this.loggedOut(error);
        return;
      }
      this.fault = error as Error;
      this.#failures += 1;
    }
    this.changed();
  }
}
