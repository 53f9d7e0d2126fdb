/** The link between an answer and its question. */
/** Returns the offset of the question that a message answers, from the data of its begin or of its end; `undefined` if it names none. */
export declare function questionOf(data: unknown): number | undefined;
