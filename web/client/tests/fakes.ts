/** Fake sockets, locks and storage, and a clock that runs fast. */

import type { TestContext } from 'node:test';
import { connect, type Client, type Clock, type Options, type OutboxStorage, type Socket, type SocketClass, type StoredEntry } from '../src/index.js';
import { until } from './gateway.js';

/** A gateway in the same process that can refuse, ignore or answer a connection. */
export class Server {
  accepts = true;
  answers = true;
  user = 'anonymous';
  flags: string[] | undefined;
  /** Connections so far. */
  connections = 0;
  /** The reports that came, and what each is answered. */
  readonly reports: { errors: Record<string, any>[]; dropped: number }[] = [];
  reported: (errors: number) => object = (accepted) => ({ reported: { accepted, dropped: 0, next_ms: 0 } });
  readonly sockets: FakeSocket[] = [];
  /** The URL of each socket. */
  readonly urls: string[] = [];
  readonly stored: { channel: string; key: string; data: unknown; user: string }[] = [];
  readonly Socket: SocketClass;

  constructor() {
    const server = this;
    this.Socket = class extends FakeSocket {
      constructor(url: string) {
        super(server);
        server.urls.push(url);
      }
    };
  }

  handle(socket: FakeSocket, frame: Record<string, any>): void {
    const { id } = frame;
    const limits = { frame_bytes: 65536, publishes_per_s: 0, publishes_burst: 1, subscriptions: 128 };
    const status = { level: 'ok', revision: 1, dependencies: [], lost: [] };
    if (frame['connect']) socket.deliver({ id, connected: { connection: `c${++this.connections}`, instance: 'i', user: this.user, ping_ms: 25000, stable_ms: 10000, limits, status, flags: this.flags, recovered: [] } });
    else if (frame['subscribe']) {
      const { channel } = frame['subscribe'];
      socket.deliver({ id, subscribed: { channel, epoch: 'e', head: 0, floor: 1 } });
      socket.deliver({ synced: { channel, offset: 0 } });
    } else if (frame['report']) {
      this.reports.push(frame['report']);
      socket.deliver({ id, ...this.reported(frame['report'].errors.length) });
    } else if (frame['unsubscribe']) socket.deliver({ id, unsubscribed: frame['unsubscribe'] });
    else if (frame['publish'] && this.answers) {
      const { channel, key, data } = frame['publish'];
      const duplicate = this.stored.some((one) => one.key === key);
      if (!duplicate) this.stored.push({ channel, key, data, user: this.user });
      socket.deliver({ id, published: { channel, key, epoch: 'e', offset: this.stored.length, time: 1, duplicate } });
    }
  }
}

export class FakeSocket implements Socket {
  bufferedAmount = 0;
  onopen: Socket['onopen'] = null;
  onmessage: Socket['onmessage'] = null;
  onclose: Socket['onclose'] = null;
  onerror: Socket['onerror'] = null;
  readonly sent: Record<string, any>[] = [];

  constructor(readonly server: Server) {
    server.sockets.push(this);
    queueMicrotask(() => {
      if (server.accepts) this.onopen?.({} as never);
      else this.lost();
    });
  }

  send(text: string): void {
    const frame = JSON.parse(text) as Record<string, any>;
    this.sent.push(frame);
    queueMicrotask(() => this.server.handle(this, frame));
  }

  deliver(frame: object | string): void {
    this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) } as never);
  }

  lost(code = 1006, reason = ''): void {
    this.onclose?.({ code, reason } as never);
  }

  close(): void {}
}

/** The Web Locks of one origin: exclusive, granted in request order, released when the holder's work or the holder ends. */
export class Locks {
  readonly #held = new Map<string, (() => void)[]>();
  /** The locks of one tab; `die` releases them as the browser does when a page ends. */
  tab(): { locks: Pick<LockManager, 'request'>; die: () => void } {
    const mine: (() => void)[] = [];
    const request = async (name: string, options: any, run?: any): Promise<unknown> => {
      const work = run ?? options;
      const { ifAvailable, signal } = (run ? options : {}) as LockOptions;
      const queue = this.#held.get(name);
      if (queue && ifAvailable) return work(null);
      if (queue) {
        await new Promise<void>((granted, failed) => {
          queue.push(granted);
          signal?.addEventListener('abort', () => failed(new Error('aborted')));
        });
      } else this.#held.set(name, []);
      const release = () => {
        const next = this.#held.get(name)?.shift();
        if (next) next();
        else this.#held.delete(name);
      };
      mine.push(release);
      try { return await work({ name }); } finally {
        if (mine.includes(release)) {
          mine.splice(mine.indexOf(release), 1);
          release();
        }
      }
    };
    return { locks: { request: request as LockManager['request'] }, die: () => mine.splice(0).forEach((release) => release()) };
  }
}

/** Storage that a test can inspect and make fail. */
export class Shelf implements OutboxStorage {
  entries: StoredEntry[] = [];
  broken = false;
  /** The operations that never answer. */
  hangs: 'nothing' | 'writes' | 'all' = 'nothing';
  async load(outbox: string): Promise<StoredEntry[]> {
    if (this.hangs === 'all') await new Promise(() => {});
    return this.#do(() => this.entries.filter((one) => one.outbox === outbox));
  }
  async put(entry: StoredEntry): Promise<void> {
    if (this.hangs !== 'nothing') await new Promise(() => {});
    this.#do(() => { this.entries = [...this.entries.filter((one) => one.outbox !== entry.outbox || one.key !== entry.key), entry]; });
  }
  async remove(outbox: string, key: string): Promise<void> {
    if (this.hangs !== 'nothing') await new Promise(() => {});
    this.#do(() => { this.entries = this.entries.filter((one) => one.outbox !== outbox || one.key !== key); });
  }
  #do<T>(run: () => T): T {
    if (this.broken) throw new Error('the disk is gone');
    return run();
  }
}

export function client(t: TestContext, server: Server, options: Options = {}): Client {
  const it = connect('ws://gateway.example/ws', { WebSocket: server.Socket, ...options });
  t.after(() => it.close());
  return it;
}

/** A clock whose timers fire after a fiftieth of their time. */
export const quick: Clock = { now: () => Date.now(), setTimeout: (run, ms) => setTimeout(run, ms / 50), clearTimeout: (timer) => clearTimeout(timer) };

/** A clock that runs fifty times as fast. */
export function fast(): Clock {
  const start = Date.now();
  return { ...quick, now: () => start + (Date.now() - start) * 50 };
}

export const online = (it: Client) => until('online', () => it.state.value.phase === 'online');
