import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLong, markup } from '../src/markup.ts';

/** The pieces as a short text: `<kind:text>`. */
const shown = (text: string): string => markup(text).map((piece) => (piece.kind === 'text' ? piece.text : `<${piece.kind}:${piece.text}>`)).join('');

test('code, bold, italic and addresses are recognised, and everything else is text', () => {
  const cases: [string, string][] = [
    ['plain', 'plain'],
    ['a `b*c*` d', 'a <code:b*c*> d'],
    ['**so** and *so* and _so_', '<bold:so> and <italic:so> and <italic:so>'],
    ['2 * 3 * 4 and a_b_c and ** x **', '2 * 3 * 4 and a_b_c and ** x **'],
    ['*not\nover lines*', '*not\nover lines*'],
    ['```js\nlet a = `1`;\n```', '<block:let a = `1`;>'],
    ['see https://a.example/x?y=1#z, ok', 'see <link:https://a.example/x?y=1#z>, ok'],
    ['(https://a.example/b)', '(<link:https://a.example/b>)'],
    ['https://a.example/b_(c)', '<link:https://a.example/b_(c)>'],
    ['javascript:alert(1) http:/x <b>', 'javascript:alert(1) http:/x <b>'],
    ['<img src=x onerror=alert(1)>', '<img src=x onerror=alert(1)>'],
    ['https://a.example/*x* and *y*', '<link:https://a.example/*x>* and <italic:y>'],
    ['', ''],
  ];
  for (const [text, expected] of cases) assert.equal(shown(text), expected, text);
});

test('a link leads to its own text, and only over the web', () => {
  for (const piece of markup('https://a.example `x` http://b.example/é ftp://c.example')) {
    if (piece.kind === 'link') assert.ok(piece.href === piece.text && /^https?:/.test(piece.href));
  }
});

test('no text is lost: the pieces hold every character that is not a mark', () => {
  for (const text of ['**a** `b` *c* https://d.example.', '*a', '``', '** **', '___', '```a```b', 'a*b*c', '`a``b`']) {
    const whole = markup(text).map(({ text }) => text).join('');
    assert.equal(whole.replace(/[`*_]/g, ''), text.replace(/[`*_]/g, ''), text);
  }
});

/** The milliseconds of the processor that reading a text takes: the least of three, because other work of the process counts too. */
const costs = (text: string) => Math.min(...[1, 2, 3].map(() => {
  const before = process.cpuUsage();
  markup(text);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}));

test('a text made to be slow is read at once', () => {
  // Milliseconds on a quiet machine; seconds if each character were tried against each other one.
  for (const part of ['*a', '**a', '_a ', '`', '``` ', 'https://', '(', '*a_b']) {
    const taken = costs(part.repeat(Math.floor(19_000 / part.length)));
    assert.ok(taken < 200, `${part}: ${taken} ms`);
  }
  const taken = costs(`https://a${'.'.repeat(19_000)}x`);
  assert.ok(taken < 200, `an address of dots: ${taken} ms`);
});

test('a long text is one of many lines or letters', () => {
  assert.deepEqual([isLong('a\n'.repeat(11)), isLong('a\n'.repeat(12)), isLong('a'.repeat(1_200)), isLong('a'.repeat(1_201))], [false, true, false, true]);
});
