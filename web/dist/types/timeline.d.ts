/** The module `seawall-client/timeline`: a channel as a chat draws it, for every framework or none. Separate, so that only its users load it. */
import type { Channel, Client, Cursor, Observable } from './api.js';
import { type TimelineItem } from './items.js';
export type { TimelineGap, TimelineHead, TimelineItem, TimelineMessage, TimelineReset } from './items.js';
/** Options of {@link timeline}. All are optional. */
export interface TimelineOptions {
    /** The most messages that are kept, at least 1, until {@link Timeline.older} loads more. Default: 500. */
    readonly window?: number;
    /** The position up to which the user has read. Default: everything that is there when the channel first becomes live. */
    readonly read?: Cursor;
}
/** The content of a timeline. */
export interface TimelineState<T = unknown> {
    /** In the order of the log, then the messages that wait, in the order in which they were written. Unchanged items are the same objects. */
    readonly items: readonly TimelineItem<T>[];
    /** The loaded messages that others wrote after the read position and that are not deleted. */
    readonly unread: number;
    /** True if publications after the read position are not loaded: there may be more unread messages. */
    readonly moreUnread: boolean;
    /** True if {@link Timeline.older} can load earlier messages. */
    readonly hasOlder: boolean;
    /** True exactly while {@link Timeline.older} waits for a page. */
    readonly loading: boolean;
    /** The oldest offset that the gateway keeps, as last reported; 1 until then. */
    readonly floor: number;
}
/** A channel's messages. Listeners are called at most once a turn. It ends when its handle leaves the channel. */
export interface Timeline<T = unknown> extends Observable<TimelineState<T>> {
    /**
     * Loads at most `limit` earlier publications (1 to 300, default 50), which are kept until {@link Timeline.newest}, up to 10 windows of
     * messages. Rejects as {@link Channel.history} does. A second call before the first is done does the same as the first.
     */
    older(limit?: number): Promise<void>;
    /** Drops the oldest messages over the window. Call it when the reader is back at the end. */
    newest(): void;
    /** Marks everything as read. Returns the position, to be passed as {@link TimelineOptions.read} at the next start. */
    read(): Cursor | undefined;
}
/**
 * Follows a channel as a chat draws it: edits and deletes applied, the user's own messages shown from the moment they are written, and the
 * unread ones counted. Call it in the same synchronous turn as `client.channel()`, so that nothing is missed.
 *
 * @throws {@link SeawallError} `invalid`
 */
export declare function timeline<T>(client: Client, channel: Channel<T>, options?: TimelineOptions): Timeline<T>;
