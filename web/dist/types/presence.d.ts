/** The module `seawall-client/presence`: the users that are present in a channel. Separate, so that only its users load it. */
import type { Channel, Observable, PresenceMember } from './api.js';
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
/**
 * Follows the roster of a channel that was opened with `watch`: `presence(client.channel('lobby', { present: {}, watch: 'members' }))`.
 * After the synchronous turn of `client.channel()` it reads the roster first.
 */
export declare function presence<T>(channel: Channel<T>): Presence;
