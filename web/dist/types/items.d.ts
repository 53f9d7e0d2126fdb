/** A channel's messages with edits and deletes applied, joined with the outbox. Values in, immutable values out: no client, no timer. */
import type { Gap, OutboxEntry, Publication, PublicationHead, Reset } from './api.js';
/** The members of every message. */
export interface TimelineHead {
    readonly kind: 'message';
    /** Unique in the timeline, and the same before and after this client's own message is stored: use it as the key of a list. */
    readonly id: string;
    /** Absent until the message is stored. */
    readonly offset?: number;
    readonly key?: string;
    /** Absent only if the message waits and this client has not been online yet. */
    readonly user?: string;
    /** True if this user wrote it. With auth off every user is `anonymous`: then only if this client sent it. */
    readonly own: boolean;
    /** When it was stored or, while it waits, when it was written. */
    readonly time: number;
    /** True if `data` is that of an edit by a person. */
    readonly edited: boolean;
    /** `begun`: its text is being written, and `streams` of `seawall-client/streams` has it. Else how that ended. */
    readonly stream?: PublicationHead['stream'];
    /** The message's own outbox entry while it is not stored, or the latest edit or delete of it that is in progress. */
    readonly pending?: OutboxEntry;
}
/** A message as a chat shows it. `data` is that of the last edit, and `null` once deleted. */
export type TimelineMessage<T = unknown> = (TimelineHead & {
    readonly deleted: false;
    readonly data: T;
}) | (TimelineHead & {
    readonly deleted: true;
    readonly data: null;
});
/** Publications that are missing here, because the gateway no longer has them. */
export interface TimelineGap extends Gap {
    readonly kind: 'gap';
    readonly id: string;
}
/** The log was replaced here: what was before it may be lost. */
export interface TimelineReset extends Reset {
    readonly kind: 'reset';
    readonly id: string;
}
export type TimelineItem<T = unknown> = TimelineMessage<T> | TimelineGap | TimelineReset;
/** Each of the two lists below may grow to this many windows. */
export declare const WINDOWS_MAX = 10;
/** Invariant: everything from `oldest` to the newest publication was added, except what `bound` and the breaks left out. */
export declare class Items {
    #private;
    readonly window: number;
    /** The lowest offset that was added, kept or skipped. Earlier publications can be loaded, if the gateway has them. */
    oldest: number | undefined;
    /** The user of the client. Absent until the first connection. */
    user: string | undefined;
    constructor(window: number);
    /** The number of messages. */
    get size(): number;
    add(one: Publication): void;
    gap(gap: Gap): void;
    reset(reset: Reset): void;
    /** Starts again at this offset. */
    begin(oldest: number): void;
    /** Drops the oldest messages over a bound, and what belongs to the time before them: it is loaded again together with them. */
    trim(most: number): void;
    /** Takes the outbox entries of this channel, in their order. */
    pending(entries: readonly OutboxEntry[]): void;
    /** Returns the items in the order of the log, then the messages that wait. Unchanged items, and an unchanged list, are the same objects. */
    list(): readonly TimelineItem[];
}
