/** Publication keys. */
/** Returns a new, unique publication key: a ULID of 10 time digits and 16 random digits. */
export declare function newKey(): string;
