/** The module `seawall-client/streams`: texts that are being written in a channel, such as answers. Separate, so that only its users load it. */
import type { Channel, Observable, Publication, Published } from './api.js';
import { type StreamEvent, type StreamState } from './stream.js';
export { questionOf } from './question.js';
export { isEnd, type StreamEnd, type StreamEvent, type StreamState } from './stream.js';
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
/**
 * Follows the streams of a channel: `const open = streams(room)`, in the same synchronous turn as `client.channel()`. Later, name the
 * offsets of the messages whose `stream` is `begun`: what was missed of them is requested. A stream leaves the list when it ends; its
 * message is then a usual one, with the whole text. It ends when the channel's handle leaves.
 */
export declare function streams<T>(channel: Channel<T>, begun?: Iterable<number>): Streams;
