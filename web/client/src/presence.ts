/** The module `seawall-client/presence`: the users that are present in a channel. Separate, so that only its users load it. */

import type { Channel, Observable, PresenceFrame, PresenceMember } from './api.js';
import type { Handle } from './channel.js';
import { Cell, notify } from './observable.js';

export type { PresenceMember } from './api.js';

/** A roster as far as it is known. */
export interface PresenceState {
  /** True if no user is missing: connected, the gateway knows all members, and the list has been read. The list of before stays while it is false. */
  readonly complete: boolean;
  readonly users: number;
  readonly connections: number;
  /** True if the channel has too many users to list: `members` is empty. */
  readonly counted: boolean;
  /** The users by name. Empty if only the numbers are watched. */
  readonly members: ReadonlyMap<string, PresenceMember>;
}

/** The events of a roster. A reconnect reports the differences alone. */
export interface PresenceEvents {
  /** A user is present who was not: the first of their connections. */
  join: PresenceMember;
  /** A user is not present any more: the last of their connections left. */
  leave: PresenceMember;
  /** A user's `state` changed. */
  state: PresenceMember;
}

/** A channel's roster. It ends when the channel's handle leaves. */
export interface Presence extends Observable<PresenceState> {
  /** Adds a listener. Returns a function that removes it. */
  on(event: keyof PresenceEvents, listener: (member: PresenceMember) => void): () => void;
  /** Shows this user in another state, or without one. Enters the roster if that has not been done. Rejects as {@link Channel.history} does. */
  setState(state?: string): Promise<void>;
  /** Leaves the roster; the subscription stays. */
  absent(): Promise<void>;
}

type Members = Map<string, PresenceMember>;

const isOpen = (phase: string): boolean => /live|syncing/.test(phase);

class Roster extends Cell<PresenceState> implements Presence {
  readonly #listeners = { join: new Set<never>(), leave: new Set<never>(), state: new Set<never>() } as unknown as Record<keyof PresenceEvents, Set<(member: PresenceMember) => void>>;
  readonly #channel: Handle;
  /** Absent while no frame of this connection is known. */
  #revision: number | undefined;
  /** The pages that are being read, or will be: members may be missing from the list. */
  #pages: Members | undefined;

  constructor(channel: Channel<never>) {
    super({ complete: false, users: 0, connections: 0, counted: false, members: new Map() });
    this.#channel = channel as unknown as Handle;
    // The handle drops this listener when it leaves.
    channel.on('presence', (frame) => this.#take(frame));
    const stop = channel.state.subscribe(({ phase }) => {
      if (phase === 'left') stop();
      if (!isOpen(phase)) this.#lose();
    });
    // Else the first frame comes.
    if (isOpen(channel.state.value.phase)) void this.#read(new Map());
  }

  on(event: keyof PresenceEvents, listener: (member: PresenceMember) => void): () => void {
    const own = (member: PresenceMember) => listener(member);
    this.#listeners[event].add(own);
    return () => { this.#listeners[event].delete(own); };
  }

  async setState(state?: string): Promise<void> {
    await this.#ask('present', { state });
  }

  async absent(): Promise<void> {
    await this.#ask('absent');
  }

  #ask(name: string, body?: object): Promise<PresenceFrame> {
    const { owner, name: channel } = this.#channel;
    return owner.request({ channel, ...body }, name);
  }

  #lose(): void {
    this.#revision = this.#pages = undefined;
    if (this.value.complete) this.set({ ...this.value, complete: false });
  }

  #take(frame: PresenceFrame): void {
    const { revision, ended, members, more, joined, changed, left, refresh_ms: refreshMs } = frame;
    const last = this.#revision;
    const differs = joined ?? changed ?? left;
    if (ended) return this.#lose();
    if (differs && revision <= last!) return;
    this.#revision = revision;
    const next: Members = new Map(this.value.members);
    if (members) {
      if (!more) next.clear();
      put(next, members);
      this.#pages = undefined;
      // Without the members of before: a user on none of the pages has left.
      if (more) void this.#read(new Map(members.map((one) => [one.user, one])), members.at(-1)!.user);
    } else if (differs && revision === last! + 1) {
      for (const map of [next, this.#pages]) {
        put(map, joined);
        put(map, changed);
        for (const user of left ?? []) map?.delete(user);
      }
    } else if (differs) void this.#read(new Map());
    if (refreshMs) this.#readIn(refreshMs * Math.random(), new Map());
    this.#show(frame, next);
  }

  /** Reads pages once this time has passed. The list is incomplete until then. */
  #readIn(ms: number, pages: Members, after?: string, failures?: number): void {
    this.#pages = pages;
    setTimeout(() => { if (this.#pages === pages) void this.#read(pages, after, failures); }, ms);
  }

  /** Reads the pages after `after`, again if that fails, and then shows them. A later call takes over. */
  async #read(pages: Members, after?: string, failures = 0): Promise<void> {
    this.#pages = pages;
    try {
      for (;;) {
        const page = await this.#ask('presence', { after });
        if (this.#pages !== pages) return;
        failures = 0;
        this.#revision ??= page.revision;
        put(pages, page.members);
        after = page.members?.at(-1)?.user;
        if (page.more) continue;
        this.#pages = undefined;
        return this.#show(page, pages);
      }
    } catch {
      if (this.#pages === pages) this.#readIn(Math.min(60_000, 2_000 * 2 ** failures) * (0.5 + Math.random()), pages, after, failures + 1);
    }
  }

  #show({ complete, users, connections, ...more }: PresenceFrame, members: Members): void {
    const counted = !!more.counted;
    const before = this.value.members;
    if (counted) {
      members.clear();
      this.#pages = undefined;
    }
    // Members may be missing from a list whose pages are being read.
    this.set({ complete: complete && !this.#pages, users, connections, counted, members });
    if (counted) return;
    for (const [user, member] of before) if (!members.has(user)) notify(this.#listeners.leave, member);
    for (const [user, member] of members) {
      const known = before.get(user);
      if (!known) notify(this.#listeners.join, member);
      else if (known.state !== member.state) notify(this.#listeners.state, member);
    }
  }
}

function put(members: Members | undefined, all: readonly PresenceMember[] = []): void {
  for (const member of all) members?.set(member.user, member);
}

/**
 * Follows the roster of a channel that was opened with `watch`: `presence(client.channel('lobby', { present: {}, watch: 'members' }))`.
 * After the synchronous turn of `client.channel()` it reads the roster first.
 */
export function presence<T>(channel: Channel<T>): Presence {
  return new Roster(channel as unknown as Channel<never>);
}
