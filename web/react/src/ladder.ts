/**
 * Decides how much of the page a failed rendering takes: its message, its thread, its chat or the app. Values in, values out: the
 * boundaries carry the decisions out. The memory is kept outside them, because a boundary that is mounted again has forgotten everything.
 */

export type Level = 'message' | 'thread' | 'chat' | 'app';

/** The rules of one level. */
export interface LevelPolicy {
  /** How often a boundary renders its content again by itself, within `failuresMs`. */
  readonly autoRetries: number;
  /** How long it waits before that. */
  readonly retryMs: number;
  /** How often a person can ask for it. */
  readonly retries: number;
  /** The boundary above takes over at this many failures of one boundary within `failuresMs`. */
  readonly failures: number;
  readonly failuresMs: number;
  /** The boundary above takes over once this many different boundaries below it have failed for the first time within `siblingsMs`. */
  readonly siblings: number;
  readonly siblingsMs: number;
}

export type Policy = Readonly<Record<Level, LevelPolicy>>;

const NEVER = Infinity;

/** One automatic retry, by default: the rules of a level in the order of {@link LevelPolicy}. */
const rules = (retryMs: number, retries: number, failures: number, failuresMs: number, siblings = NEVER, siblingsMs = 0, autoRetries = 1): LevelPolicy =>
  ({ autoRetries, retryMs, retries, failures, failuresMs, siblings, siblingsMs });

export const POLICY: Policy = {
  message: rules(300, 3, NEVER, 60_000, 5, 10_000),
  thread: rules(1_000, NEVER, 3, 60_000, 2, 60_000),
  chat: rules(2_000, NEVER, 3, 120_000),
  app: rules(0, 0, NEVER, 0, NEVER, 0, 0),
};

/** The failures of one boundary. */
export interface Failures {
  /** When it failed for the first time. */
  readonly since: number;
  /** Its failures within `failuresMs`, oldest first: at most {@link TIMES_MAX}. */
  readonly times: readonly number[];
  /** The retries that a person asked for. */
  readonly asked: number;
  readonly level: Level;
  /** The key of the boundary above. */
  readonly within: string | undefined;
}

/** By key, the boundary that failed last at the end. At most {@link MEMORY_MAX} entries: the oldest are forgotten. */
export type Memory = ReadonlyMap<string, Failures>;

export const MEMORY_MAX = 300;
const TIMES_MAX = 10;

export interface Failure {
  readonly level: Level;
  /** Names the boundary, also after it was mounted again. */
  readonly key: string;
  /** The key of the boundary above, if there is one. Without one nothing escalates. */
  readonly within: string | undefined;
}

export type Decision =
  /** The boundary throws the error on to the one above. */
  | { readonly do: 'escalate' }
  /** The boundary shows its fallback, and its content again after `retryMs` if that is set. `canRetry`: a person can ask for it. */
  | { readonly do: 'fall_back'; readonly retryMs?: number; readonly canRetry: boolean };

/** Decides about one failure. */
export function failed(memory: Memory, { level, key, within }: Failure, policy: Policy, now: number): [Memory, Decision] {
  const { autoRetries, retryMs, retries, failures, failuresMs, siblings, siblingsMs } = policy[level];
  const last = memory.get(key);
  const times = [...(last?.times ?? []).filter((at) => now - at < failuresMs), now].slice(-TIMES_MAX);
  const asked = last?.asked ?? 0;
  const next = new Map(memory);
  next.delete(key);
  next.set(key, { since: last?.since ?? now, times, asked, level, within });
  for (const oldest of next.keys()) {
    if (next.size <= MEMORY_MAX) break;
    next.delete(oldest);
  }
  // Only the first failure of each counts: retries of one message must not take its thread.
  const isRecent = (one: Failures) => one.level === level && one.within === within && now - one.since < siblingsMs;
  const isOver = times.length >= failures || [...next.values()].filter(isRecent).length >= siblings;
  if (within !== undefined && isOver) return [next, { do: 'escalate' }];
  return [next, { do: 'fall_back', canRetry: asked < retries, ...(times.length <= autoRetries && { retryMs }) }];
}

/** Records that a person asked for a retry. */
export function retried(memory: Memory, key: string): Memory {
  const last = memory.get(key);
  return last ? new Map(memory).set(key, { ...last, asked: last.asked + 1 }) : memory;
}
