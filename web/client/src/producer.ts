/** The module `seawall-client/producer`: writes streams, such as the answers of a model. For backends; separate, so that only they load it. */

import type { Client } from './api.js';
import type { Owner } from './channel.js';
import { need, SeawallError } from './error.js';
import { newKey } from './key.js';
import { Pace, type Sender } from './pace.js';
import { joined, PIECE_MAX, type Piece } from './pieces.js';
import type { StreamEnd } from './stream.js';
import { command, type Frame, type WireError } from './wire.js';

/** Bytes that are kept until the gateway has stored them: as many as it takes of a stream before it stores them. */
export const WINDOW_BYTES = 65_536;
/** The wait before a command is repeated, if the gateway does not say. */
const AGAIN_MS = 300;
/** Each refusal in a row doubles the wait, up to this many times. */
const DOUBLINGS_MAX = 4;
/** The wait for the answer to a rejoin. */
const REJOIN_MS = 2_000;
/** Cancels that are kept while a begin is not answered. */
const EARLY_MAX = 64;
/** Errors after which a command is repeated. */
const TRANSIENT = ['timeout', 'too_many', 'unconfirmed', 'rate_limited', 'unavailable', 'draining'];

const isPassing = (code: string) => code === 'gap' || code === 'overloaded' || TRANSIENT.includes(code);

/** How a stream begins. All are optional. */
export interface BeginOptions {
  /** Identifies the run: the same key continues it, also from another process. Default: {@link newKey}. */
  readonly key?: string;
  /** The data of the begin, which readers see until the end. Default: `{}`. */
  readonly data?: unknown;
  /** The user that the stream is for, who may cancel it. */
  readonly for?: string;
  /** The stream ends as `interrupted` if nothing is written for this time. Default: the gateway's. */
  readonly idleMs?: number;
  /** `keep`: events stay in the data of the end. Default: `drop`. */
  readonly events?: 'drop' | 'keep';
}

/** The end of a stream, which is stored. */
export interface Ended {
  readonly state: StreamEnd;
  /** The offset of the publication that ended it. */
  readonly edit: number;
}

/** A stream that is being written. */
export interface Producer {
  readonly channel: string;
  readonly key: string;
  /** The offset of the begin. */
  readonly offset: number;
  /** The position of what is stored: not 0 if the key was used before. The next text follows it; call {@link restart} to drop it. */
  readonly stored: number;
  /**
   * Aborted once nothing more is wanted: a reader cancelled it, or it ended without this producer. Pass it to `fetch`. Its reason is a
   * {@link SeawallError} with the code `cancelled`, or the failure.
   */
  readonly cancelled: AbortSignal;
  /**
   * Adds a text, and sends it at once. Resolves when less than {@link WINDOW_BYTES} wait to be stored, so await it. Works through
   * lost connections. Rejects with a {@link SeawallError} once the stream has ended, or if too much waits because calls were not awaited.
   */
  write(text: string): Promise<void>;
  /** Adds an event of this type: 1 to 32 of `a-z`, `0-9` and `_`, with at most 4 KiB of JSON. As {@link write} otherwise. */
  event(type: string, data?: unknown): Promise<void>;
  /** Says that the run is alive, although there is nothing to write. Call it more often than `idleMs`. */
  alive(): void;
  /** Starts the text over, for a repeated call of the model. Readers drop what they have. */
  restart(): Promise<void>;
  /**
   * Ends the stream, once everything that was written is stored. `data`: replaces that of the gateway, which has the whole text. A
   * stream that had ended before is not an error: look at the state.
   */
  end(state?: 'completed' | 'failed' | 'cancelled', data?: unknown): Promise<Ended>;
}

/** The place of an answer that was stored with its question, as the relay's request has it. */
export interface Place {
  readonly channel: string;
  readonly offset: number;
  /** The generation. Another request for the same question has a higher one, after which this one writes nothing more. */
  readonly gen: number;
}

/** The reply to a begin. */
interface Begun {
  readonly offset: number;
  readonly stream?: { readonly gen: number; readonly next: number; readonly state?: StreamEnd; readonly edit?: number };
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
/** Of each client. */
const paces = new WeakMap<Owner, Pace>();
const wait = (ms: number) => new Promise<void>((resolve) => { setTimeout(resolve, ms); });
const over = (state: StreamEnd, edit: number) => new SeawallError({ code: 'ended', message: `This stream has ended: ${state}.`, state, edit });
const closed = () => new SeawallError({ code: 'closed', message: 'The connection is closed for good: see client.state.' });

class Out implements Producer, Sender {
  offset = 0;
  /** The position after everything that was written. */
  #next = 0;
  #stored = 0;
  #gen = 0;
  /** Text of this turn, which is not a piece yet, or half of a surrogate pair. */
  #text = '';
  #isDue = false;
  /** The pieces that are not stored, in order. */
  #pieces: Piece[] = [];
  /** The connection that knows of this producer. */
  #on: string | undefined;
  /** The connection that was last asked to join. */
  #asked: string | undefined;
  /** Defined exactly while something will be sent again, before which nothing new is sent. */
  #again: ReturnType<typeof setTimeout> | undefined;
  /** Refusals since something was stored. */
  #refusals = 0;
  /** Cancels that came before the reply to the begin said which stream is this one. */
  #early: Frame[] = [];
  /** Why nothing can be written any more. */
  #over: SeawallError | undefined;
  #isEnding = false;
  /** True while a restart is not answered: the generation is not known. */
  #isRestarting = false;
  readonly #abort = new AbortController();
  readonly #owner: Owner;
  readonly #pace: Pace;
  readonly #stop: (() => void)[];
  /** Called when something is stored, this producer joined a connection, or the stream ended. */
  readonly #waiters = new Set<() => void>();

  constructor(readonly client: Client, readonly channel: string, readonly key: string, readonly body: object) {
    this.#owner = client as unknown as Owner;
    this.#pace = paces.get(this.#owner) ?? new Pace();
    paces.set(this.#owner, this.#pace);
    const tap = (frame: Frame) => this.#take(frame);
    this.#owner.taps.add(tap);
    this.#stop = [() => this.#owner.taps.delete(tap), client.state.subscribe(() => this.#look())];
  }

  get stored(): number {
    return this.#stored;
  }

  get cancelled(): AbortSignal {
    return this.#abort.signal;
  }

  get #connection(): string | undefined {
    const state = this.client.state.value;
    return 'session' in state ? state.session.connection : undefined;
  }

  /** `place`: of a stream that has begun. A piece without text then says how much is stored. */
  async begin(place?: Place): Promise<void> {
    try {
      const { offset, stream } = place ? { ...place, stream: await this.#ask<Begun['stream']>('append', { ...place, at: 0 }) } : await this.#ask<Begun>('publish', this.body);
      if (!stream) throw new SeawallError({ code: 'unknown_command', message: 'This gateway has no streams: it stored the begin as a usual message.' });
      const { gen, next, state, edit } = stream;
      if (state !== undefined) throw over(state, edit!);
      this.offset = offset;
      this.#gen = gen;
      this.#next = this.#stored = next;
      this.#on = this.#connection;
    } catch (error) {
      throw this.#finish(error as SeawallError);
    }
    for (const frame of this.#early.splice(0)) this.#take(frame);
    this.#look();
  }

  async write(text: string): Promise<void> {
    this.#room();
    this.#text += text;
    this.#soon();
    await this.#until(() => this.#waiting < WINDOW_BYTES);
  }

  async event(type: string, data: unknown = null): Promise<void> {
    this.#room();
    JSON.stringify(data); // throws here if it is not JSON, and not when it is sent again
    this.#cut();
    this.#add({ event: { type, data } }, 1);
    await this.#until(() => this.#waiting < WINDOW_BYTES);
  }

  alive(): void {
    if (!this.#over && !this.#isRestarting && !this.#pieces.length && this.#isJoined) this.#send({ at: this.#next, next: this.#next });
  }

  async restart(): Promise<void> {
    this.#room();
    this.#isRestarting = true;
    // From now on text belongs to the new generation.
    this.#text = '';
    this.#pieces = [];
    this.#next = this.#stored = 0;
    this.#wake();
    try {
      this.#gen = (await this.#ask<{ gen: number }>('restart', this.#place)).gen;
    } catch (error) {
      throw this.#finish(error as SeawallError);
    } finally {
      this.#isRestarting = false;
    }
    this.resend();
  }

  async end(state: Ended['state'] = 'completed', data?: unknown): Promise<Ended> {
    try {
      this.#room();
      this.#cut(true);
      this.#isEnding = true;
      for (;;) {
        // The pieces go first.
        await this.#until(() => this.#isJoined && !this.#isRestarting && this.#again === undefined);
        try {
          const { state: how, edit } = await this.#owner.request<Ended>({ ...this.#place, gen: this.#gen, at: this.#next, state, data }, 'end');
          throw this.#finish(over(how, edit));
        } catch (thrown) {
          const { code, retryMs } = thrown as SeawallError;
          if (!isPassing(code)) throw this.#finish(thrown as SeawallError);
          this.#retry(retryMs);
        }
      }
    } catch (thrown) {
      const { code, state: how, edit } = thrown as SeawallError;
      if (code === 'ended') return { state: how!, edit: edit! };
      throw thrown;
    }
  }

  /** True if this connection knows of this producer. */
  get #isJoined(): boolean {
    return this.#on !== undefined && this.#on === this.#connection;
  }

  get #place(): object {
    return { channel: this.channel, offset: this.offset };
  }

  /** The bytes that are not stored, about. */
  get #waiting(): number {
    return this.#next - this.#stored + this.#text.length;
  }

  /** Throws if nothing can be written. */
  #room(): void {
    if (this.#over) throw this.#over;
    need(!this.#isEnding, 'This stream is ending: nothing can be added to it.');
    if (this.#waiting >= 2 * WINDOW_BYTES) {
      throw new SeawallError({ code: 'outbox_full', message: `${WINDOW_BYTES} bytes wait to be stored: await write() before the next one.` });
    }
  }

  /** Joins what is written in one turn. */
  #soon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      this.#cut();
    });
  }

  /** Makes pieces of the text. Half of a surrogate pair waits for the other. */
  #cut(isLast = false): void {
    const half = /[\uD800-\uDBFF]$/.test(this.#text) ? this.#text.slice(-1) : '';
    let rest = isLast || !half ? this.#text : this.#text.slice(0, -1);
    this.#text = this.#text.slice(rest.length);
    while (rest !== '') {
      const length = rest.length > PIECE_MAX && /[\uD800-\uDBFF]/.test(rest[PIECE_MAX - 1]!) ? PIECE_MAX - 1 : PIECE_MAX;
      // A surrogate without its other half is no character, and becomes U+FFFD.
      const bytes = encoder.encode(rest.slice(0, length));
      rest = rest.slice(length);
      this.#add({ text: decoder.decode(bytes) }, bytes.length);
    }
  }

  #add(body: Pick<Piece, 'text' | 'event'>, size: number): void {
    const piece = { at: this.#next, next: this.#next + size, ...body };
    this.#next = piece.next;
    this.#pieces.push(piece);
    if (this.#over || !this.#isJoined || this.#isRestarting || this.#again !== undefined) return;
    if (this.#pace.isHeld) this.#retry(0);
    else this.#send(piece);
  }

  #send({ at, text, event }: Piece): void {
    this.#owner.send(command(undefined, 'append', { ...this.#place, gen: this.#gen, at, text, event }));
  }

  /** Has what is not stored sent again, after a wait and in turn. */
  #retry(ms = AGAIN_MS): void {
    if (this.#over) return;
    const longer = ms * (1 + Math.random()) * 2 ** Math.min(this.#refusals, DOUBLINGS_MAX);
    this.#again ??= setTimeout(() => this.#pace.add(this), longer);
  }

  /**
   * Sends again what is not stored: what is known is dropped by the gateway. On a new connection a piece without text joins, which
   * counts as no publication, and its acknowledgement has what is stored.
   */
  resend(): number {
    clearTimeout(this.#again);
    this.#again = undefined;
    const connection = this.#connection;
    if (this.#over || this.#isRestarting || connection === undefined) return 0;
    if (!this.#isJoined) {
      this.#asked = connection;
      this.#again = setTimeout(() => this.#pace.add(this), REJOIN_MS);
      this.#send({ at: this.#stored, next: this.#stored });
      return 1;
    }
    this.#pieces = joined(this.#pieces);
    for (const piece of this.#pieces) this.#send(piece);
    this.#wake();
    return this.#pieces.length;
  }

  /** Has the stream join a new connection. */
  #look(): void {
    if (this.client.state.value.phase === 'closed' && !this.#over) this.#finish(closed());
    if (!this.#over && this.offset && this.#connection !== undefined && !this.#isJoined) this.#pace.add(this);
  }

  #took(next: number): void {
    if (next > this.#stored) this.#refusals = 0;
    this.#stored = Math.max(this.#stored, next);
    this.#pieces = this.#pieces.filter((piece) => piece.next > next);
    // Before that it is about a piece on the connection before.
    if (!this.#isJoined && this.#asked !== undefined && this.#asked === this.#connection) {
      this.#on = this.#asked;
      this.#pace.add(this);
    }
    this.#wake();
  }

  #take(frame: Frame): void {
    const { id, appended, cancel, error, publication } = frame;
    if (!this.offset) {
      if (cancel?.channel === this.channel && this.#early.push(frame) > EARLY_MAX) this.#early.shift();
      return;
    }
    const { edits, deletes, stream, offset: edit, channel } = publication ?? {};
    if (stream && stream !== 'begun' && channel === this.channel && (edits ?? deletes) === this.offset) return void this.#finish(over(stream, edit!));
    const about = appended ?? cancel ?? error;
    if (id !== undefined || about?.offset !== this.offset || about.channel !== this.channel) return;
    if (cancel) this.#abort.abort(new SeawallError({ code: 'cancelled', message: `${cancel.user} cancelled this stream.` }));
    if (appended && appended.gen === this.#gen && !this.#isRestarting) this.#took(appended.next);
    if (error) this.#refused(error);
  }

  /** Takes the refusal of a piece. That of a piece of an earlier text says nothing. */
  #refused(error: WireError): void {
    const { code, state, retry_ms: ms = AGAIN_MS, gen, next } = error;
    if (code === 'ended') return void this.#finish(over(state!, error.edit!));
    if (this.#isRestarting || (code === 'stale' && gen === this.#gen)) return;
    const isLost = code === 'gap' && !this.#isJoined && next! < this.#stored;
    if (isLost || !isPassing(code)) return void this.#finish(new SeawallError(isLost ? { ...error, message: 'The gateway lost a part of this stream.' } : error));
    if (code === 'rate_limited') this.#pace.hold(ms);
    if (this.#again !== undefined) return;
    this.#retry(ms);
    this.#refusals += 1;
  }

  /** Ends the work of this producer. Returns the reason. */
  #finish(why: SeawallError): SeawallError {
    this.#over ??= why;
    this.#stop.splice(0).forEach((off) => off());
    this.#pieces = [];
    clearTimeout(this.#again);
    this.#pace.remove(this);
    if (!this.#isEnding) this.#abort.abort(why);
    this.#wake();
    return why;
  }

  #wake(): void {
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** Waits for a condition. Rejects if the stream ends before. */
  async #until(is: () => boolean): Promise<void> {
    while (!this.#over && !is()) {
      await new Promise<void>((resolve) => {
        const waiter = () => {
          this.#waiters.delete(waiter);
          resolve();
        };
        this.#waiters.add(waiter);
      });
    }
    if (this.#over) throw this.#over;
  }

  /** Sends a command until it is answered. */
  async #ask<R>(name: string, body: object): Promise<R> {
    for (;;) {
      if (this.#over) throw this.#over;
      try {
        return await this.#owner.request<R>(body, name);
      } catch (thrown) {
        const { code, retryMs = AGAIN_MS } = thrown as SeawallError;
        if (!TRANSIENT.includes(code)) throw thrown;
        await wait(retryMs * (1 + Math.random()));
      }
    }
  }
}

/**
 * Begins a stream in a channel, or continues the one with the same key: `const out = await begin(client, 'thread.7', { for: 'ann' })`. The
 * token needs the rights `publish` and `stream`; the client need not subscribe. Rejects with a {@link SeawallError}: `ended` if the
 * stream with this key has ended, `key_conflict` if the key was used for something else, `overloaded` if too many are open.
 */
export async function begin(client: Client, channel: string, options: BeginOptions = {}): Promise<Producer> {
  const { key = newKey(), data = {}, idleMs, events, for: user } = options;
  const out = new Out(client, channel, key, { channel, key, data, stream: { for: user, idle_ms: idleMs, events } });
  await out.begin();
  return out;
}

/**
 * Continues a stream at its place: `const out = await resume(client, request.data.answer)` writes the answer to a question that the gateway
 * relayed to this backend. The user of the token is the author of the stream. Rejects with a {@link SeawallError}: `stale` if the
 * question was sent again since, `ended` if it was stopped.
 */
export async function resume(client: Client, place: Place): Promise<Producer> {
  const out = new Out(client, place.channel, '', {});
  await out.begin(place);
  return out;
}
