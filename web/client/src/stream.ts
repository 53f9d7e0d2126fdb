/**
 * The knowledge of one stream that a reader has, by the rules of docs/protocol.md: values in, values out.
 *
 * A position is a number of the gateway's, which is compared and never counted here. Pieces that arrive ahead of a missing one wait,
 * because the gateway sends each of them once.
 */

/** How a stream ended. */
export type StreamEnd = 'completed' | 'failed' | 'cancelled' | 'interrupted' | 'replaced' | 'deleted';
/**
 * `accepted`: an answer that is stored with its question, and waits for the backend. `processing`: the backend has the question. Both have
 * no text yet. `paused`: its producer is gone, and may come back. `cancelling`: a user asked it to stop.
 */
export type StreamState = 'accepted' | 'processing' | 'streaming' | 'paused' | 'cancelling' | StreamEnd;

/** The first two are before the first text of a generation. */
const OPEN: readonly (StreamState | undefined)[] = ['accepted', 'processing', 'streaming', 'paused', 'cancelling'];
const isBefore = (state?: StreamState) => OPEN.slice(0, 2).includes(state);
/** True if nothing follows in this state. */
export const isEnd = (state: StreamState): state is StreamEnd => !OPEN.includes(state);

/** Something that happened while a text was written, such as the call of a tool. */
export interface StreamEvent {
  readonly type: string;
  readonly data: unknown;
  /** Its place among the text and the other events. */
  readonly position: number;
}

/** The object `stream` as the gateway sends it: a piece, a state, or the whole with `at`, `next` and `state`. */
export interface StreamFrame {
  readonly channel: string;
  readonly offset: number;
  readonly gen: number;
  readonly at?: number;
  readonly next?: number;
  readonly text?: string;
  readonly event?: Omit<StreamEvent, 'position'>;
  readonly events?: readonly (readonly [position: number, type: string, data: unknown])[];
  readonly state?: StreamState;
}

/** Pieces that wait for a missing one. More are dropped, and asked for later. */
const HELD_MAX = 256;

/** Invariant: within a generation, `text` only grows and `next` never decreases. */
export interface Reading {
  /** The generation: 0 before the first frame. A higher one starts over. */
  gen: number;
  /** The position after `text` and `events`. */
  next: number;
  text: string;
  /** Replaced at each change. */
  events: readonly StreamEvent[];
  state: StreamState;
  /** True exactly while something before a known piece, or all of a known generation, is missing. */
  missing: boolean;
  /** True exactly while the missing part is requested. */
  asked: boolean;
  held: StreamFrame[];
}

export const unread = (): Reading => ({ gen: 0, next: 0, text: '', events: [], state: 'streaming', missing: false, asked: false, held: [] });

/** True exactly when the part after `next` has to be requested. */
export const wants = ({ missing, asked }: Reading): boolean => missing && !asked;

/** Adds a piece that adjoins, replaces the text by the whole, drops what is known, and holds what is ahead of a missing piece. */
export function take(reading: Reading, frame: StreamFrame): 'take' | 'state' | 'hold' | 'drop' {
  const { gen, at, next = 0, text = '', event, events = [], state } = frame;
  if (gen < reading.gen || isEnd(reading.state)) return 'drop';
  const isNewer = gen > reading.gen;
  if (isNewer) Object.assign(reading, { gen, next: 0, text: '', events: [], missing: at !== 0 && !isBefore(state), held: [] });
  if (state) reading.state = state;
  if (at === undefined) return 'state';
  const isWhole = at === 0 && state !== undefined;
  if (next <= reading.next && !isNewer) {
    // It is the whole, and all of it is known.
    if (isWhole) reading.missing = reading.held.length > 0;
    return state ? 'state' : 'drop';
  }
  if (!isWhole && at !== reading.next) {
    reading.missing = true;
    if (reading.held.length < HELD_MAX) reading.held.push(frame);
    return 'hold';
  }
  const replaces = isNewer || at !== reading.next;
  const added = event ? [{ ...event, position: at }] : events.map(([position, type, data]) => ({ type, data, position }));
  reading.text = replaces ? text : reading.text + text;
  reading.events = replaces ? added : added.length ? [...reading.events, ...added] : reading.events;
  reading.next = next;
  if (!state && isBefore(reading.state)) reading.state = 'streaming';
  release(reading);
  return 'take';
}

/** Takes in the pieces that waited. A piece that is still ahead waits on. */
function release(reading: Reading): void {
  const { held } = reading;
  Object.assign(reading, { held: [], missing: false });
  for (const frame of held) take(reading, frame);
}

/** Takes in the reply to a request for the missing part. One about an earlier generation does not have it. */
export function answered(reading: Reading, frame: StreamFrame): ReturnType<typeof take> {
  reading.asked = false;
  const how = take(reading, frame);
  if (frame.gen >= reading.gen) release(reading);
  return how;
}

/** Ends the stream by the publication that replaces its begin. The data of an end has the whole text. */
export function end(reading: Reading, state: StreamEnd, data?: unknown): void {
  const { text } = (data ?? {}) as { text?: unknown };
  Object.assign(reading, { state, missing: false, asked: false, held: [], ...(state !== 'replaced' && typeof text === 'string' && { text }) });
}
