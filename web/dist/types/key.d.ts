/** Keys of publications. */
/** A new key, a ULID: 10 digits of time and 16 random ones. Never made twice. */
export declare function newKey(): string;
