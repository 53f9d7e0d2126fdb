/** The link between an answer and its question. */

/** Returns the offset of the question that a message answers, from the data of its begin or of its end; `undefined` if it names none. */
export function questionOf(data: unknown): number | undefined {
  const { begun, answers } = (data ?? {}) as { begun?: { answers?: unknown } | null; answers?: unknown };
  const offset = begun?.answers ?? answers;
  return typeof offset === 'number' ? offset : undefined;
}
