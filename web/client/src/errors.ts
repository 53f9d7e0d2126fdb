/** Errors in groups: the same error at the same place is one group with a count. Values in, values out. */

/** How much of the application an error took, from the least to the most. */
export type ErrorLevel = 'message' | 'thread' | 'chat' | 'app';

const LEVELS: readonly ErrorLevel[] = ['message', 'thread', 'chat', 'app'];

/** The errors with one fingerprint. */
export interface ErrorGroup {
  /** Eight hexadecimal digits: the same for the same error of other people. It is the reference that fallbacks show. */
  readonly fingerprint: string;
  /** The most that it took. */
  readonly level: ErrorLevel;
  readonly name: string;
  readonly message: string;
  readonly stack: string;
  /** The components around it. */
  readonly component: string;
  readonly count: number;
  readonly first: number;
  readonly last: number;
  /** Of the last one: what the app and the kit know about the situation. */
  readonly context: Readonly<Record<string, string>>;
}

export interface Errors {
  /** In the order of their first error: at most {@link GROUPS_MAX}. */
  readonly groups: readonly ErrorGroup[];
  /** Groups that were dropped because there were too many. */
  readonly dropped: number;
}

export const GROUPS_MAX = 50;
/** Characters; the gateway cuts at the same ones. */
const [NAME_MAX, MESSAGE_MAX, STACK_MAX, COMPONENT_MAX, KEY_MAX, VALUE_MAX] = [60, 500, 4_000, 1_800, 24, 96];
const CONTEXT_KEYS_MAX = 8;
const FRAMES = 3;

export const NO_ERRORS: Errors = { groups: [], dropped: 0 };

/** FNV-1a over UTF-16 code units. */
export function hash(text: string): string {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  return (value >>> 0).toString(16).padStart(8, '0');
}

/** Removes what may be secret or personal: tokens, mail addresses, queries and long numbers. */
export function scrub(text: string): string {
  return text
    .replace(/(\b|%[\dA-Fa-f]{2})eyJ[\w-]{8,}(?:\.[\w-]*){0,2}/g, '$1[token]')
    .replace(/\b(Bearer|Basic) +[^\s,;"']+/gi, '$1 [token]')
    .replace(/[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]+/g, '[mail]')
    .replace(/\?[\w%.~-]+=[^\s)"']*/g, '?[query]')
    .replace(/\d{7,}/g, '[number]');
}

/** Names an error by what does not change from time to time: no numbers, quoted parts, hosts, queries or columns. The gateway computes the same. */
export function fingerprint(name: string, message: string, stack: string): string {
  const words = message.replace(/(["'`“]).*?(["'`”])/g, '').replace(/\S{21,}/g, '').replace(/\d+/g, '');
  const frames = stack.split('\n').filter((line) => /:\d+:\d+/.test(line)).slice(0, FRAMES)
    .map((line) => line.replace(/\w+:\/\/[^/]*/, '').replace(/\?[^:)]*/, '').replace(/:\d+\)?$/, '').trim());
  return hash([name, words, ...frames].join('\n'));
}

/** Describes an error as a group of one, scrubbed and cut to its bounds. */
export function describe(error: Error, level: ErrorLevel, component: string, context: Readonly<Record<string, unknown>>, clean: (text: string) => string, now: number): ErrorGroup {
  // Half a surrogate pair, at the cut or before, is no text on the wire.
  // The first cut bounds the work. A token that it halves is known by its begin.
  const safe = (text: unknown, most: number) => clean(scrub(String(text ?? '').slice(0, 2 * most))).slice(0, most).replace(/\p{Cs}/gu, '');
  const name = safe(error.name, NAME_MAX);
  const message = safe(error.message, MESSAGE_MAX);
  const stack = safe(error.stack, STACK_MAX);
  const known = Object.entries(context).filter(([, value]) => value !== undefined && value !== '').slice(0, CONTEXT_KEYS_MAX);
  return {
    fingerprint: fingerprint(name, message, stack), level, name, message, stack, component: safe(component, COMPONENT_MAX), count: 1, first: now, last: now,
    context: Object.fromEntries(known.map(([key, value]) => [key.slice(0, KEY_MAX), safe(value, VALUE_MAX)])),
  };
}

const worse = (one: ErrorLevel, other: ErrorLevel): ErrorLevel => (LEVELS.indexOf(one) > LEVELS.indexOf(other) ? one : other);

/** Adds an error to its group, or makes a group. Over the bound the oldest group of a single error goes, else the oldest. */
export function add({ groups, dropped }: Errors, one: ErrorGroup): Errors {
  const known = groups.find((group) => group.fingerprint === one.fingerprint);
  if (known) {
    const { count, level } = known;
    const more = { ...known, count: count + one.count, level: worse(level, one.level), last: one.last, context: one.context };
    return { groups: groups.map((group) => (group === known ? more : group)), dropped };
  }
  if (groups.length < GROUPS_MAX) return { groups: [...groups, one], dropped };
  const least = groups.find(({ count }) => count === 1) ?? groups[0];
  return { groups: [...groups.filter((group) => group !== least), one], dropped: dropped + 1 };
}

/** Records that an error that was counted already took more than was known. */
export function raise(errors: Errors, fingerprint: string, level: ErrorLevel): Errors {
  const groups = errors.groups.map((group) => (group.fingerprint === fingerprint ? { ...group, level: worse(group.level, level) } : group));
  return { ...errors, groups };
}

/** Removes what was reported. What came meanwhile stays. */
export function without({ groups, dropped }: Errors, sent: readonly ErrorGroup[], droppedSent: number): Errors {
  const counts = new Map(sent.map(({ fingerprint, count }) => [fingerprint, count]));
  const left = groups.map((group) => {
    const count = counts.get(group.fingerprint);
    return count === undefined ? group : { ...group, count: group.count - count };
  });
  return { groups: left.filter(({ count }) => count > 0), dropped: Math.max(0, dropped - droppedSent) };
}
