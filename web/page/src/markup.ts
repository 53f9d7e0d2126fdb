// A safe subset of Markdown as values: code, bold, italic and links. What is not markup stays text. No HTML, so nothing is ever parsed as such.

export type Piece =
  | { readonly kind: 'text' | 'code' | 'block' | 'bold' | 'italic'; readonly text: string }
  | { readonly kind: 'link'; readonly text: string; readonly href: string };

/** Longer texts are shown as they are: no person formats them. */
const LONGEST = 20_000;
/** In this order at each place: a block of code, code, bold, italic, an address. None spans lines except the first. */
const MARKUP = /```(?:[a-z]*\n)?([^]*?)```|`([^`\n]+)`|\*\*(?=\S)([^*\n]+)(?<=\S)\*\*|(?<![\w*])([*_])(?=\S)([^*_\n]+)(?<=\S)\4(?![\w*])|(https?:\/\/[^\s<>"'`]+)/g;
/** Ends a sentence rather than an address. */
const AFTER = '.,:;!?)]}*_';

/** Reads a text. The pieces together are the text without its marks. */
export function markup(text: string): readonly Piece[] {
  if (text.length > LONGEST || !/[`*_]|https?:/.test(text)) return [{ kind: 'text', text }];
  const pieces: Piece[] = [];
  let at = 0;
  const add = (piece: Piece) => { if (piece.text !== '') pieces.push(piece); };
  for (const found of text.matchAll(MARKUP)) {
    const [whole, block, code, bold, , italic, address] = found;
    add({ kind: 'text', text: text.slice(at, found.index) });
    at = found.index + whole.length;
    if (block !== undefined) add({ kind: 'block', text: block.replace(/\n$/, '') });
    else if (code !== undefined) add({ kind: 'code', text: code });
    else if (bold !== undefined) add({ kind: 'bold', text: bold });
    else if (italic !== undefined) add({ kind: 'italic', text: italic });
    else {
      const end = balanced(address!);
      add({ kind: 'link', text: end, href: end });
      at -= address!.length - end.length;
    }
  }
  add({ kind: 'text', text: text.slice(at) });
  return pieces;
}

/** Cuts punctuation off the end of an address, but not the bracket that belongs to one in it. */
function balanced(address: string): string {
  // Not a regular expression: one that ends in `$` is tried at each character.
  let to = address.length;
  while (to > 0 && AFTER.includes(address[to - 1]!)) to -= 1;
  const end = address.slice(0, to);
  return address[end.length] === ')' && end.includes('(') && !end.includes(')') ? `${end})` : end;
}

/** True if a text is long: its end is hidden at first. */
export const isLong = (text: string): boolean => text.length > 1_200 || text.split('\n', 13).length > 12;
