/** The parts of a growing text that a screen reader reads. Values in, values out. */

/** The end of a sentence is followed by a space, or is the end of a line. In Chinese and Japanese nothing follows it. */
const END = /[.!?…]["'”’)\]]*(?=\s)|[。！？]|\n/g;

/** Returns the position after the last whole sentence that begins at `from` or later, or `from`. */
export function sentenceEnd(text: string, from: number): number {
  let end = from;
  END.lastIndex = from;
  while (END.test(text)) end = END.lastIndex;
  return end;
}
