/** The module `seawall-client/streams`: texts that are being written in a channel, such as answers. Separate, so that only its users load it. */

import type { Channel, Observable, Publication, Published } from './api.js';
import type { Handle } from './channel.js';
import type { SeawallError } from './error.js';
import { Cell, report } from './observable.js';
import { answered, end, isEnd, take, unread, wants, type Reading, type StreamEnd, type StreamEvent, type StreamFrame, type StreamState } from './stream.js';
import type { Frame } from './wire.js';

export { questionOf } from './question.js';
export { isEnd, type StreamEnd, type StreamEvent, type StreamState } from './stream.js';

/** Ended streams that are remembered, so that a late piece does not show one again. */
const ENDED_MAX = 256;
/** The wait before the missing part of a stream is requested again. */
const AGAIN_MS = 1_000;
/** Errors after which a request is repeated. */
const TRANSIENT = ['timeout', 'too_many', 'unconfirmed'];

/** A part of a stream, as an iteration delivers it: exactly one of the members. */
export interface StreamPiece {
  readonly text?: string;
  readonly event?: StreamEvent;
  /** Drop what was delivered so far: the text starts over. */
  readonly restarted?: true;
}

/** A text that is being written. It is a publication, whose end is an edit of it. An iteration ends with it, or when the channel's handle leaves. */
export interface Stream extends AsyncIterable<StreamPiece> {
  readonly channel: string;
  /** The offset of its begin, and of its message in a timeline. */
  readonly offset: number;
  /** Its begin. Absent if the channel was opened after it, with too few publications. */
  readonly begun: Publication | undefined;
  /** The text so far. It only grows, unless its author starts over. */
  readonly text: Observable<string>;
  readonly events: Observable<readonly StreamEvent[]>;
  readonly state: Observable<StreamState>;
  /**
   * Asks the author to stop, and the gateway to end the stream a few seconds later. Resolves when that is stored, or the stream has ended.
   * Rejects with a {@link SeawallError}: `forbidden` for a user that it is not for and who does not moderate the channel.
   */
  cancel(): Promise<void>;
}

/** The open streams of a channel, in the order of their begins. */
export interface Streams extends Observable<readonly Stream[]> {
  /**
   * Returns the answer to a question: `open.of(await room.publish({ text }))`. `undefined` if it has none. Works for a repeat of a question
   * as well, whose answer may have ended: its text is then requested.
   */
  of(question: Published): Stream | undefined;
}

class One implements Stream {
  /** As in the client. */
  readonly __v_skip = true;
  readonly text = new Cell('');
  readonly events = new Cell<readonly StreamEvent[]>([]);
  readonly state = new Cell<StreamState>('streaming');
  readonly reading: Reading = unread();
  begun: Publication | undefined;
  /** True once the channel has left: nothing follows, although the stream may not have ended. */
  readonly isLeft = new Cell(false);
  /** False after a lost connection, until a frame about it came. */
  isConfirmed = true;
  readonly #channel: Handle;

  constructor(channel: Handle, readonly offset: number) {
    this.#channel = channel;
  }

  get channel(): string {
    return this.#channel.name;
  }

  async cancel(): Promise<void> {
    if (isEnd(this.reading.state)) return;
    await this.#channel.owner.request({ channel: this.channel, offset: this.offset }, 'cancel').catch((error: SeawallError) => {
      if (error.code !== 'ended') throw error;
    });
  }

  /** Shows what was read. */
  show(): void {
    const { text, events, state } = this.reading;
    this.events.set(events);
    this.text.set(text);
    this.state.set(state);
  }

  async *[Symbol.asyncIterator](): AsyncIterator<StreamPiece> {
    let [of, text, count] = [0, '', 0];
    let wake = () => {};
    const stop = [this.text, this.events, this.state, this.isLeft].map((each) => (each as Observable<unknown>).subscribe(() => wake()));
    try {
      for (;;) {
        const { gen, text: now, events, state } = this.reading;
        const isOther = gen !== of || (isEnd(state) && !now.startsWith(text));
        of = gen;
        if (isOther && (text !== '' || count > 0)) {
          [text, count] = ['', 0];
          yield { restarted: true };
        } else if (now.length > text.length) {
          const added = now.slice(text.length);
          text = now;
          yield { text: added };
        } else if (events.length > count) yield { event: events[count++]! };
        else if (isEnd(state) || this.isLeft.value) return;
        else await new Promise<void>((resolve) => { wake = resolve; });
      }
    } finally {
      stop.forEach((off) => off());
    }
  }
}

class Open extends Cell<readonly Stream[]> implements Streams {
  readonly #channel: Handle;
  readonly #open = new Map<number, One>();
  readonly #ended = new Set<number>();
  /** Streams that were given up, and whose end may follow. */
  readonly #unsure = new Map<number, One>();
  /** Streams with changes that listeners do not know. */
  readonly #changed = new Set<One>();

  constructor(channel: Handle, begun: Iterable<number>) {
    super([]);
    this.#channel = channel;
    for (const offset of begun) this.#miss(this.#begin(offset));
    const tap = ({ id, stream }: Frame) => {
      if (id === undefined && stream?.channel === channel.name) this.#take(stream);
    };
    channel.owner.taps.add(tap);
    channel.owner.reading.set(channel.name, () => Object.fromEntries(
      [...this.#open.values()].filter(({ reading: { gen } }) => gen).slice(-256).map(({ offset, reading: { gen, next } }) => [offset, [gen, next]]),
    ));
    // The handle drops these listeners when it leaves.
    channel.on('publication', (one) => this.#publication(one));
    channel.on('reset', () => {
      for (const one of this.#open.values()) this.#end(one, 'interrupted');
      // The new log has these offsets as well.
      this.#ended.clear();
      this.#unsure.clear();
    });
    channel.on('synced', () => {
      // The gateway sent one frame for each stream that is open: these ended meanwhile.
      for (const one of this.#open.values()) if (!one.isConfirmed) this.#miss(one);
    });
    const stop = channel.state.subscribe(({ phase }) => {
      if (phase === 'left') {
        stop();
        channel.owner.taps.delete(tap);
        channel.owner.reading.delete(channel.name);
        for (const one of this.#open.values()) one.isLeft.set(true);
        this.#open.clear();
        this.set([]);
      } else if (!/live|syncing/.test(phase)) for (const one of this.#open.values()) one.isConfirmed = false;
    });
  }

  of({ answer }: Published): Stream | undefined {
    if (!answer || this.#channel.state.value.phase === 'left') return undefined;
    const known = this.#open.get(answer);
    if (known) return known;
    this.#ended.delete(answer);
    const one = this.#begin(answer);
    this.#miss(one);
    return one;
  }

  #take(frame: StreamFrame): void {
    const { offset } = frame;
    if (this.#ended.has(offset)) return;
    const one = this.#open.get(offset) ?? this.#begin(offset);
    one.isConfirmed = true;
    take(one.reading, frame);
    this.#look(one);
  }

  #begin(offset: number): One {
    const one = new One(this.#channel, offset);
    this.#open.set(offset, one);
    return one;
  }

  #publication(one: Publication): void {
    const { offset, stream, edits, deletes, data } = one;
    const of = edits ?? deletes;
    if (of !== undefined) {
      const ending = this.#open.get(of) ?? this.#unsure.get(of);
      if (!ending) return this.#forget(of);
      return this.#end(ending, deletes !== undefined ? 'deleted' : stream === undefined || stream === 'begun' ? 'replaced' : stream, data);
    }
    // While the channel is read from the log, the end may follow, and a frame comes for each stream that is open.
    if (stream !== 'begun' || this.#ended.has(offset)) return;
    let open = this.#open.get(offset);
    if (!open && this.#channel.state.value.phase === 'live') this.#look((open = this.#begin(offset)));
    if (open) open.begun = one;
  }

  #end(one: One, state: StreamEnd, data?: unknown): void {
    const { offset } = one;
    end(one.reading, state, data);
    this.#open.delete(offset);
    this.#unsure.delete(offset);
    this.#forget(offset);
    this.#look(one);
  }

  #forget(offset: number): void {
    this.#ended.add(offset);
    if (this.#ended.size <= ENDED_MAX) return;
    const [first] = this.#ended as Iterable<number> as [number];
    this.#ended.delete(first);
    this.#unsure.delete(first);
  }

  #miss(one: One): void {
    one.reading.missing = true;
    this.#look(one);
  }

  /** Requests what is missing, and shows the changes of a turn together. */
  #look(one: One): void {
    if (wants(one.reading)) void this.#ask(one);
    if (!this.#changed.size) queueMicrotask(() => this.#show());
    this.#changed.add(one);
  }

  #show(): void {
    const changed = [...this.#changed];
    this.#changed.clear();
    const open = [...this.#open.values()].sort((one, other) => one.offset - other.offset);
    if (open.length !== this.value.length || open.some((one, index) => one !== this.value[index])) this.set(open);
    for (const one of changed) one.show();
  }

  async #ask(one: One): Promise<void> {
    const { offset, reading, reading: { gen, next: after } } = one;
    const { owner, name: channel } = this.#channel;
    reading.asked = true;
    try {
      const frame = await owner.request<StreamFrame>({ channel, offset, gen, after }, 'stream');
      if (this.#open.get(offset) !== one) return;
      one.isConfirmed = true;
      answered(reading, frame);
      this.#look(one);
    } catch (thrown) {
      const { code, state: how, edit } = thrown as SeawallError;
      if (!code) return report(thrown);
      if (this.#open.get(offset) !== one) return;
      if (code === 'ended') return this.#readEnd(one, how!, edit!);
      if (code === 'not_found') this.#giveUp(one, 'interrupted');
      // After another refusal a further request would be refused as well. The end of the stream brings its text.
      else this.#again(one, thrown as SeawallError);
    }
  }

  /** Requests the missing part later, if the error passes. Returns if it does. */
  #again(one: One, { code, retryMs }: SeawallError): boolean {
    const passes = this.#channel.state.value.phase !== 'left' && (retryMs !== undefined || TRANSIENT.includes(code));
    if (passes) {
      setTimeout(() => {
        one.reading.asked = false;
        if (this.#open.get(one.offset) === one) this.#look(one);
      }, Math.max(AGAIN_MS, retryMs ?? 0));
    }
    return passes;
  }

  /** Reads the publication that ended a stream, which this channel missed. If it is not retained, the text stays as far as it was read. */
  async #readEnd(one: One, how: StreamEnd, edit: number): Promise<void> {
    const page = await this.#channel.history({ after: edit - 1, limit: 1 }).catch((error: SeawallError) => error);
    // The end may have come meanwhile.
    if (this.#open.get(one.offset) !== one) return;
    const last = 'code' in page ? undefined : page.publications.find((each) => each.offset === edit);
    if (last) this.#end(one, how, last.data);
    else if (!('code' in page) || !this.#again(one, page)) this.#giveUp(one, how);
  }

  /** Ends a stream without its last text, which its end may bring. */
  #giveUp(one: One, how: StreamEnd): void {
    this.#end(one, how);
    this.#unsure.set(one.offset, one);
  }
}

/**
 * Follows the streams of a channel: `const open = streams(room)`, in the same synchronous turn as `client.channel()`. Later, name the
 * offsets of the messages whose `stream` is `begun`: what was missed of them is requested. A stream leaves the list when it ends; its
 * message is then a usual one, with the whole text. It ends when the channel's handle leaves.
 */
export function streams<T>(channel: Channel<T>, begun: Iterable<number> = []): Streams {
  return new Open(channel as unknown as Handle, begun);
}
