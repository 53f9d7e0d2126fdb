/** Errors in groups: the same error at the same place is one group with a count. Values in, values out. */
/** How much of the application an error took, from the least to the most. */
export type ErrorLevel = 'message' | 'thread' | 'chat' | 'app';
/** The errors with one fingerprint. */
export interface ErrorGroup {
    /** Eight hexadecimal digits: the same for the same error of other people. It is the reference that fallbacks show. */
    readonly fingerprint: string;
    /** The most that it took. */
    readonly level: ErrorLevel;
    readonly name: string;
    readonly message: string;
    readonly stack: string;
    /** The components around it. */
    readonly component: string;
    readonly count: number;
    readonly first: number;
    readonly last: number;
    /** Of the last one: what the app and the kit know about the situation. */
    readonly context: Readonly<Record<string, string>>;
}
export interface Errors {
    /** In the order of their first error: at most {@link GROUPS_MAX}. */
    readonly groups: readonly ErrorGroup[];
    /** Groups that were dropped because there were too many. */
    readonly dropped: number;
}
export declare const GROUPS_MAX = 50;
export declare const NO_ERRORS: Errors;
/** FNV-1a over UTF-16 code units. */
export declare function hash(text: string): string;
/** Removes what may be secret or personal: tokens, mail addresses, queries and long numbers. */
export declare function scrub(text: string): string;
/** Names an error by what does not change from time to time: no numbers, quoted parts, hosts, queries or columns. The gateway computes the same. */
export declare function fingerprint(name: string, message: string, stack: string): string;
/** Describes an error as a group of one, scrubbed and cut to its bounds. */
export declare function describe(error: Error, level: ErrorLevel, component: string, context: Readonly<Record<string, unknown>>, clean: (text: string) => string, now: number): ErrorGroup;
/** Adds an error to its group, or makes a group. Over the bound the oldest group of a single error goes, else the oldest. */
export declare function add({ groups, dropped }: Errors, one: ErrorGroup): Errors;
/** Records that an error that was counted already took more than was known. */
export declare function raise(errors: Errors, fingerprint: string, level: ErrorLevel): Errors;
/** Removes what was reported. What came meanwhile stays. */
export declare function without({ groups, dropped }: Errors, sent: readonly ErrorGroup[], droppedSent: number): Errors;
