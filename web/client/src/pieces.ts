/** Pieces of a stream that is written. Values in, values out. */

/** The longest text of one piece, in UTF-16 units: escaped, it fits into a frame. */
export const PIECE_MAX = 4_096;

/** A text or an event, with its position and the one after it. */
export interface Piece {
  readonly at: number;
  readonly next: number;
  readonly text?: string;
  readonly event?: { readonly type: string; readonly data: unknown };
}

/** Joins adjoining texts, as far as they fit into a piece. */
export function joined(pieces: readonly Piece[]): Piece[] {
  const all: Piece[] = [];
  for (const piece of pieces) {
    const last = all.at(-1);
    if (last?.text !== undefined && piece.text !== undefined && last.text.length + piece.text.length <= PIECE_MAX) {
      all[all.length - 1] = { at: last.at, next: piece.next, text: last.text + piece.text };
    } else all.push(piece);
  }
  return all;
}
