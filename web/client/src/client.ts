/** The shell around the session: the one file that touches sockets, timers and the page. */

import type {
  Channel, ChannelOptions, Client, Clock, Cursor, Options, Outbox, OutboxEntry, OutboxKeeper, Published, Socket, SocketClass, State, Status,
} from './api.js';
import { check, Handle, type Owner } from './channel.js';
import { need, SeawallError } from './error.js';
import { users } from './identity.js';
import { newKey } from './key.js';
import { OUTBOX_ENTRIES_MAX, SIGNAL_BURST_MS, SIGNAL_BYTES, SIGNAL_MS } from './limits.js';
import { Cell, notify } from './observable.js';
import { owned, tooLarge } from './outbox.js';
import * as session from './session.js';
import { isOn, type Effect, type Entry, type Event, type NewEntry, type SessionState, type Watcher } from './state.js';
import { systemClock } from './system.js';
import { command, read, type Frame } from './wire.js';

interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: SeawallError) => void;
}

const CLOSED = new SeawallError({ code: 'closed', message: 'This client is closed.' });
const TIMER_MAX_MS = 2 ** 31 - 1;

/** Resolves the gateway's address to a `ws:` or `wss:` URL. In a page it may be relative. */
function address(url: string): string {
  let whole: URL | undefined;
  try {
    whole = new URL(url, globalThis.location?.href);
    whole.protocol = whole.protocol.replace(/^http/, 'ws');
  } catch { /* reported below */ }
  need(typeof url === 'string' && /^wss?:/.test(whole?.protocol!), `${JSON.stringify(url)} is not a gateway address, such as wss://chat.example/ws.`);
  return whole!.href;
}

class Shell implements Client, Owner {
  /** Vue must not wrap this object: a proxy has no private members. */
  readonly __v_skip = true;
  readonly state = new Cell<State>({ phase: 'connecting', attempt: 0 });
  readonly status;
  readonly flags = new Cell<readonly string[]>([]);
  readonly outbox: Outbox;
  readonly taps = new Set<(frame: Frame) => void>();
  readonly reading = new Map<string, () => object>();
  readonly #entries = new Cell<readonly OutboxEntry[]>([]);
  readonly #storage;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #sockets = new Map<number, Socket>();
  readonly #handles = new Map<string, Set<Handle>>();
  readonly #promises = new Map<string, Waiter<Published>>();
  readonly #pages = new Map<number, Waiter<unknown>>();
  readonly #events: Event[] = [];
  readonly #stop: (() => void)[] = [];
  #keeper: OutboxKeeper | undefined;
  #started = false;
  #s: SessionState;
  #busy = false;
  #over = false;
  #last = 0;
  #behind = 0;
  #armed = Infinity;
  #timer: unknown;
  #request = 0;
  /** Events queued so far. */
  #queued = 0;
  /** Events processed so far. */
  #stepped = 0;
  /** Token callback calls so far. */
  #asked = 0;
  /** The time at which the signals sent so far are within the allowed rate. */
  #signals = 0;

  /** `url` is resolved at the start, because a server that renders a page has no base for a relative one. */
  constructor(public url: string, readonly options: Options) {
    const { token, user: account, affinity, telemetry, client = 'seawall-js/0.1', clock = systemClock, random = Math.random, outbox } = options;
    this.#clock = clock;
    this.#random = random;
    this.#s = session.begin({ client, account, affinity, watcher: (telemetry || undefined) as unknown as Watcher, reading: (channel) => this.reading.get(channel)?.(), ...(typeof token === 'string' ? { token } : { renewable: !!token }) });
    this.status = new Cell<Status>(this.#s.status);
    this.#storage = new Cell<Outbox['storage']['value']>(outbox ? 'opening' : 'memory');
    this.outbox = Object.assign(this.#entries, {
      storage: this.#storage,
      retry: (key: string) => this.#dispatch({ is: 'retry', key, newKey: newKey() }),
      discard: (key: string) => {
        const can = this.#entries.value.some((one) => one.key === key && /queued|failed/.test(one.state));
        this.#dispatch({ is: 'discard', key });
        return can;
      },
    });
  }

  /** Opens the outbox and connects. Until then the client does nothing but keep what the app asks for. */
  start(): void {
    const { outbox, token, WebSocket = globalThis.WebSocket } = this.options;
    need(WebSocket, 'There is no WebSocket here: pass options.WebSocket, as from the package ws, or idle: true.');
    this.url = address(this.url);
    this.#started = true;
    const kept = this.options.flags?.load(this.url, users(this.#s)[0]);
    if (kept) this.flags.set((this.#s = { ...this.#s, flags: kept }).flags!);
    this.#keeper = outbox?.({
      url: this.url,
      clock: this.#clock,
      users: () => users(this.#s),
      isAnonymous: () => !token && 'session' in this.#s.view && this.#s.view.session.user === 'anonymous',
      room: () => this.#room(),
      restore: (entries) => this.#dispatch({ is: 'restored', entries }),
      opened: (durable) => this.#storage.set(durable ? 'durable' : 'memory'),
    });
    for (const entry of this.#s.outbox) this.#save(entry);
    this.#listen();
    this.#dispatch({ is: 'connect' });
  }

  get personal(): string | undefined {
    return this.#s.personal;
  }

  flag(name: string): boolean {
    return this.#s.flags?.includes(name) ?? name.startsWith('seawall.');
  }

  channel<T = unknown>(name: string, options: ChannelOptions = {}): Channel<T> {
    check(name, options);
    const all = this.#handles.get(name);
    // A listener may call this: the event being processed is older than the handle and may belong to an earlier subscription.
    const handle = new Handle(name, this, 1 + (all ? this.#stepped : this.#queued));
    if (this.#over) handle.leave();
    else if (all) {
      all.add(handle);
      const sub = this.#s.subs.get(name);
      if (sub) handle.state.set(sub.view);
    } else {
      this.#handles.set(name, new Set([handle]));
      this.#dispatch({ is: 'subscribe', channel: name, ...options });
    }
    return handle as unknown as Channel<T>;
  }

  leave(handle: Handle): void {
    const all = this.#handles.get(handle.name);
    if (!all?.delete(handle) || all.size) return;
    this.#handles.delete(handle.name);
    this.#dispatch({ is: 'unsubscribe', channel: handle.name });
  }

  cursor(channel: string): Cursor | undefined {
    const sub = this.#s.subs.get(channel);
    return sub?.epoch === undefined ? undefined : { epoch: sub.epoch, offset: sub.last };
  }

  publish(entry: NewEntry): Promise<Published> {
    const { key } = entry;
    const done = new Promise<Published>((resolve, reject) => {
      if (this.#over) return reject(CLOSED);
      need(!this.#promises.has(key) && !this.#s.outbox.some((one) => one.key === key), `A publication with the key ${key} is already in the outbox.`);
      this.#promises.set(key, { resolve, reject });
      queueMicrotask(() => {
        // The outbox shows the result, so an unhandled rejection of a queued publication is not an error.
        if (this.#s.outbox.some((one) => one.key === key)) done.catch(() => {});
      });
      this.#dispatch({ is: 'publish', entry });
    });
    return done;
  }

  request<R>(body: object, name?: string): Promise<R> {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(CLOSED);
      const request = ++this.#request;
      this.#pages.set(request, { resolve, reject } as Waiter<unknown>);
      this.#dispatch({ is: 'history', request, body, name });
    });
  }

  signal(channel: string, json: string): boolean {
    const { link, links, subs } = this.#s;
    const text = command(undefined, 'signal', { channel }, json);
    const large = tooLarge(this.#s, text);
    if (large) throw new SeawallError(large);
    const now = this.#now();
    const due = Math.max(now, this.#signals);
    const can = link !== undefined && subs.get(channel)?.on === link && now >= links.get(link)!.quiet
      && due - now < SIGNAL_BURST_MS && this.#sockets.get(link)!.bufferedAmount < SIGNAL_BYTES;
    if (can) this.#signals = due + SIGNAL_MS;
    return can && this.send(text);
  }

  send(text: string): boolean {
    const socket = this.#sockets.get(this.#s.link!);
    socket?.send(text);
    return !!socket;
  }

  reconnect(): void {
    if (this.#over) return;
    if (this.#started) this.#dispatch({ is: 'connect' });
    else this.start();
  }

  close(): void {
    if (this.#over) return;
    this.#dispatch({ is: 'close' });
    this.#over = true;
    this.#clock.clearTimeout(this.#timer as never);
    for (const stop of this.#stop) stop();
    for (const all of [...this.#handles.values()]) for (const handle of [...all]) handle.leave();
    for (const waiter of [...this.#promises.values(), ...this.#pages.values()]) waiter.reject(CLOSED);
    this.#keeper?.close();
  }

  /** Processes events one at a time, each with all its effects, even if an effect dispatches another event. */
  #dispatch(event: Event): void {
    if (this.#over) return;
    this.#queued += 1;
    this.#events.push(event);
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next; (next = this.#events.shift());) {
        this.#stepped += 1;
        for (const effect of this.#step(next)) this.#perform(effect);
      }
    } finally {
      this.#busy = false;
      this.#arm();
    }
  }

  #step(event: Event): Effect[] {
    const before = this.#s;
    let effects: Effect[];
    try {
      [this.#s, effects] = session.step(before, event, this.#now(), this.#random());
    } catch (error) {
      // Only a frame can have an unexpected shape. Drop the connection to such a gateway and retry with backoff.
      if (event.is !== 'frame') throw error;
      return this.#step({ is: 'closed', link: event.link, code: 1006, reason: `lost: a frame could not be read, ${error}` });
    }
    const { view, status, flags, outbox, subs, link, subject, user } = this.#s;
    const isOther = subject !== before.subject || user !== before.user;
    if (isOther || (view.phase === 'online' && before.link !== link)) this.#keeper?.look();
    this.state.set(view);
    this.status.set(status);
    if (flags !== before.flags) {
      this.flags.set(flags ?? []);
      this.options.flags?.save(this.url, users(this.#s)[0], flags);
    }
    if (isOther || outbox !== before.outbox) this.#entries.set(owned(this.#s));
    for (const [name, sub] of subs) {
      if (sub.view !== before.subs.get(name)?.view) for (const handle of this.#handles.get(name) ?? []) handle.state.set(sub.view);
    }
    return effects;
  }

  #perform(effect: Effect): void {
    switch (effect.do) {
      case 'open': return this.#open(effect.link, effect.to);
      case 'send': return this.#sockets.get(effect.link)?.send(effect.text);
      case 'close': return this.#close(effect.link);
      case 'token': return this.#token();
      case 'emit':
        for (const handle of [...this.#handles.get(effect.channel) ?? []]) {
          if (handle.since <= this.#stepped) handle.emit(effect.event, effect.value as never);
        }
        return;
      case 'save': return this.#save(effect.entry);
      case 'forget': return this.#keeper?.forget(effect.key);
      case 'settle': return settle(this.#promises, effect.key, effect.published, effect.failure);
      case 'answer': return settle(this.#pages, effect.request, effect.page, effect.failure);
    }
  }

  #save(entry: Entry): void {
    // Without a token the gateway will call the user `anonymous`, so entries written before the first connection are found offline too.
    const { key, user = this.options.token ? undefined : 'anonymous' } = entry;
    const saved = () => this.#dispatch({ is: 'saved', key });
    if (this.#keeper && isOn(this.#s, 'durable')) void this.#keeper.save({ ...entry, user }).then(saved);
    else saved();
  }

  #open(link: number, to: string | undefined): void {
    const closed = (code: number, reason: string) => {
      this.#sockets.delete(link);
      this.#dispatch({ is: 'closed', link, code, reason });
    };
    try {
      const Class = this.options.WebSocket ?? (globalThis.WebSocket as unknown as SocketClass);
      const url = new URL(this.url);
      if (to !== undefined) url.searchParams.set('to', to);
      const socket = new Class(url.href, ['seawall.v1']);
      this.#sockets.set(link, socket);
      socket.onopen = () => this.#dispatch({ is: 'opened', link });
      socket.onmessage = ({ data }: { data: unknown }) => {
        const frame = read(data);
        if (!frame) return;
        this.#dispatch({ is: 'frame', link, frame });
        notify(this.taps, frame);
      };
      let detail = '';
      // Browsers do not say why; Node and `ws` do.
      socket.onerror = ({ message, error }: { message?: string; error?: { message?: string; cause?: { message?: string } } }) => {
        detail = error?.cause?.message ?? (message || error?.message || '');
      };
      socket.onclose = ({ code, reason }: { code: number; reason: string }) => closed(code, reason || (detail && `lost: ${detail.replaceAll(';', ',')}`));
    } catch (error) {
      closed(1006, `lost: ${(error as Error).message}`);
    }
  }

  #close(link: number): void {
    const socket = this.#sockets.get(link);
    if (!socket) return;
    this.#sockets.delete(link);
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  #token(): void {
    const ask = this.options.token as () => string | Promise<string>;
    // A callback that is called again has timed out: the late result of an earlier call is ignored.
    const mine = ++this.#asked;
    const done = (result: { token: string } | { message: string }) => { if (mine === this.#asked) this.#dispatch({ is: 'token', ...result }); };
    (async () => {
      const token = await ask();
      if (typeof token !== 'string' || !token) throw new Error(`it returned ${JSON.stringify(token)}, not a token.`);
      return { token };
    })().then(done, (error) => done({ message: `The token callback failed: ${error?.message ?? error}` }));
  }

  /** The entries that this client can take over: none while it is closed; with entries of its own, up to the bound. */
  #room(): number {
    const { view, outbox } = this.#s;
    const waiting = outbox.filter((entry) => entry.state !== 'sent').length;
    return view.phase === 'closed' ? 0 : waiting ? OUTBOX_ENTRIES_MAX - waiting : Infinity;
  }

  /** Unix milliseconds that never decrease, even if the system clock does. */
  #now(): number {
    const now = this.#clock.now() + this.#behind;
    if (now < this.#last) this.#behind += this.#last - now;
    return (this.#last = Math.max(this.#last, now));
  }

  /** Sets the one timer for the next due time. Firing early does no harm. */
  #arm(): void {
    const at = session.wakeAt(this.#s);
    if (this.#over || at >= this.#armed) return;
    this.#clock.clearTimeout(this.#timer as never);
    this.#armed = at;
    this.#timer = this.#clock.setTimeout(() => {
      this.#armed = Infinity;
      this.#dispatch({ is: 'wake' });
    }, Math.min(TIMER_MAX_MS, Math.max(1, Math.ceil(at - this.#now()))));
  }

  /** Listens to network and visibility events of the page, if there is one. */
  #listen(): void {
    const on = (target: EventTarget | undefined, name: string, run: () => void) => {
      target?.addEventListener?.(name, run);
      this.#stop.push(() => target?.removeEventListener?.(name, run));
    };
    const visible = () => {
      if (globalThis.document?.visibilityState === 'hidden') return;
      this.#dispatch({ is: 'visible' });
      this.#keeper?.look();
    };
    const page = globalThis as unknown as EventTarget;
    const network = () => this.#dispatch({ is: 'network', online: globalThis.navigator?.onLine !== false });
    on(page, 'online', network);
    on(page, 'offline', network);
    on(page, 'pageshow', visible);
    on(globalThis.document, 'visibilitychange', visible);
    network();
  }
}

function settle<K, T>(waiters: Map<K, Waiter<T>>, key: K, value?: T, failure?: ConstructorParameters<typeof SeawallError>[0]): void {
  const waiter = waiters.get(key);
  waiters.delete(key);
  if (failure) waiter?.reject(new SeawallError(failure));
  else waiter?.resolve(value!);
}

/**
 * Connects to a gateway and stays connected: after every loss it reconnects and resumes where it was.
 *
 * `url` is `wss://HOST/ws`. In a page it may be relative (`/ws`); `https:` is treated as `wss:`, and `http:` as `ws:`.
 * Returns at once and reports progress in {@link Client.state}.
 * @throws {@link SeawallError} `invalid` if `url` is not a gateway address, or there is no `WebSocket` class; not if `idle` is set
 */
export function connect(url: string, options: Options = {}): Client {
  const client = new Shell(url, options);
  if (!options.idle) client.start();
  return client;
}
